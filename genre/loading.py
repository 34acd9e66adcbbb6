"""Finds a model: in a workspace, in a directory of a version, or on a server."""

import os
from typing import Literal

from etils import epath

from components.base.errors import UserError
from genre.model import Model


def load(
    source: "str | os.PathLike[str]" = "workspace",
    *,
    runtime: Literal["any", "tensorflow", "onnx"] = "tensorflow",
    token: str | None = None,
) -> Model:
    """Loads a model. It stays what it is when a newer one is pushed, but for that of a server.

    Args:
      source: a workspace, whose served version is loaded; the directory of a version, such as `workspace/models/3`; or
        the address of a running `genre serve`, such as `http://localhost:8501`; or a file that `genre export` wrote for
        ONNX Runtime, such as `genre.onnx`.
      runtime: what computes. tensorflow, or onnx, which takes a tenth of a second to load, for a version that was
        exported to it when it was pushed (see the setting deploy.export); any: onnx where it is there. A file that was
        exported is always computed by onnx.
      token: for a server that asks for one.

    Raises:
      UserError: there is no model, or it is damaged or does not load.

    Example:
      >>> model = genre.load("workspace")
      >>> model.predict("song.mp3")
      {'Folk': 0.81, 'Rock': 0.12, 'Jazz': 0.07}
    """
    text = os.fspath(source)
    if text.lower().startswith(("http://", "https://")):
        from genre.remote import RemoteModel

        return RemoteModel(text, token)
    directory = _version_of(epath.Path(text).expanduser())

    from genre.local import LocalModel

    return LocalModel(directory, runtime)


def _version_of(place: epath.Path) -> epath.Path:
    """Returns the directory of the version, or the export, that `place` is; or the version that is served there."""
    from components.store.model_store import current_version, version_dir

    if (place / "saved_model.pb").exists() or (place.suffix == ".onnx" and place.is_file()):
        return place
    for store in (place / "models", place):
        if (version := current_version(store)) is not None:
            return version_dir(store, version)
    raise UserError(
        f"{place}: no model in it. Name a workspace in which `genre run` has pushed one, a version's directory such as "
        "workspace/models/1, or the address of a server such as http://localhost:8501."
    )
