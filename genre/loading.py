"""Finds a model: in a workspace, in a directory of a version, or on a server."""

import os

from etils import epath

from components.base.errors import UserError
from genre.model import Model


def load(source: "str | os.PathLike[str]" = "workspace", *, token: str | None = None) -> Model:
    """Loads a model. It stays what it is when a newer one is pushed, but for that of a server.

    Args:
      source: a workspace, whose served version is loaded; the directory of a version, such as `workspace/models/3`; or
        the address of a running `genre serve`, such as `http://localhost:8501`.
      token: for a server that asks for one.

    Raises:
      UserError: there is no model, or it is damaged or does not load.

    Example:
      >>> model = genre.load("workspace")
      >>> model.predict("song.mp3")
      {'Folk': 0.81, 'Rock': 0.12, 'Jazz': 0.07}
    """
    text = os.fspath(source)
    if text.startswith(("http://", "https://")):
        from genre.remote import RemoteModel

        return RemoteModel(text, token)
    directory = _version_of(epath.Path(text))

    from genre.local import LocalModel

    return LocalModel(directory)


def _version_of(place: epath.Path) -> epath.Path:
    """Returns the directory of the version that `place` is, or that is served there."""
    from components.store.model_store import current_version, version_dir

    if (place / "saved_model.pb").exists():
        return place
    for store in (place / "models", place):
        if (version := current_version(store)) is not None:
            return version_dir(store, version)
    raise UserError(
        f"{place}: no model in it. Name a workspace in which `genre run` has pushed one, a version's directory such as "
        "workspace/models/1, or the address of a server such as http://localhost:8501."
    )
