"""Pushed models on disk: the versions, and which of them is served.

<store>/<version>/                             a SavedModel, numbered as TensorFlow Serving expects
<store>/<version>/assets.extra/lineage.json    where it came from
<store>/current.json                           the version that is served; moved last, atomically
"""

import uuid

from etils import epath
from pydantic import ValidationError

from components.config import Section, problems
from components.errors import UserError

LINEAGE = "assets.extra/lineage.json"
_CURRENT = "current.json"


class Lineage(Section):
    """Where a version came from."""

    candidate: str
    """Digest of all that determined the model: data, configuration and source."""
    parent: int | None
    """The champion that it was judged against; null for the first."""
    data: str
    span: int


class Current(Section):
    """The content of the pointer file."""

    version: int


def versions(store: epath.Path) -> list[int]:
    """Numbers of the versions in the store, ascending."""
    if not store.exists():
        return []
    return sorted(int(path.name) for path in store.iterdir() if path.name.isdigit())


def current_version(store: epath.Path) -> int | None:
    """The version that is served, or None before the first push.

    Raises:
      UserError: the pointer cannot be read, or points at a version that is not there.
    """
    pointer = store / _CURRENT
    if not pointer.exists():
        return None
    try:
        version = Current.model_validate_json(pointer.read_bytes()).version
    except ValidationError as error:
        wrong = "; ".join(problems(error))
        raise UserError(
            f'{pointer}: not readable: {wrong}. Write {{"version": N}} with one of {versions(store)}.'
        ) from error
    if not version_dir(store, version).exists():
        raise UserError(f"{pointer}: points at version {version}, which is not there; there are {versions(store)}")
    return version


def version_dir(store: epath.Path, version: int) -> epath.Path:
    """Directory of a version's SavedModel."""
    return store / str(version)


def read_lineage(store: epath.Path, version: int) -> Lineage | None:
    """Where a version came from; None of one that was put there by hand."""
    path = version_dir(store, version) / LINEAGE
    return Lineage.model_validate_json(path.read_text()) if path.exists() else None


def champion_of(store: epath.Path, candidate: str) -> int | None:
    """The version that a candidate must not be worse than.

    That is the served one, unless the candidate itself is served already: then it is the one that the candidate was
    judged against, so that running again with nothing changed asks the same question and finds the same answer.
    """
    version = current_version(store)
    while version is not None and version_dir(store, version).exists():
        lineage = read_lineage(store, version)
        if lineage is None or lineage.candidate != candidate:
            return version
        version = lineage.parent
    return None


def _write_atomically(path: epath.Path, text: str) -> None:
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    temporary.write_text(text)
    temporary.replace(path)


def publish(store: epath.Path, saved_model: epath.Path, lineage: Lineage) -> int:
    """Puts a SavedModel into the store under the next number, then points at it.

    A reader sees the whole version or nothing of it, and the pointer moves last. Called again after an interruption,
    it finishes what was begun, and does not number the same candidate twice.

    Returns:
      The version.
    """
    store.mkdir(parents=True, exist_ok=True)
    for leftover in store.glob(".incoming-*"):
        leftover.rmtree()
    have = versions(store)
    newest = read_lineage(store, have[-1]) if have else None
    if newest and newest.candidate == lineage.candidate:
        version = have[-1]
    else:
        version = have[-1] + 1 if have else 1
        incoming = store / f".incoming-{version}"
        _copy_tree(saved_model, incoming)
        (incoming / LINEAGE).parent.mkdir(parents=True, exist_ok=True)
        (incoming / LINEAGE).write_text(lineage.model_dump_json(indent=2))
        incoming.rename(version_dir(store, version))
    _write_atomically(store / _CURRENT, Current(version=version).model_dump_json())
    return version


def _copy_tree(source: epath.Path, target: epath.Path) -> None:
    for path in source.iterdir():
        if path.is_dir():
            _copy_tree(path, target / path.name)
        else:
            target.mkdir(parents=True, exist_ok=True)
            path.copy(target / path.name)
