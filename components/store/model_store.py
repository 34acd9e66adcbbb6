"""The model store: the versions that were pushed, and which of them is served.

<store>/<version>/                a SavedModel, numbered as TensorFlow Serving expects; see `saved_model`
<store>/withdrawn/<version>.json  when and why it was rolled back; stays when the version is removed
<store>/current.json              the version that is served; written last, atomically
"""

from collections.abc import Callable
from datetime import UTC, datetime

from etils import epath

from components.base.errors import UserError
from components.base.files import move_directory, write_atomically
from components.base.json_records import find_record
from components.base.section import Section
from components.base.times import Time, timestamp
from components.evaluation.results import Predecessor, Verdict
from components.store.saved_model import SavedModel

WITHDRAWN_PROPERTY = "withdrawn_version"
"""Property of a pushed model's artifact: its version when it was rolled back; missing if it never was."""
_WITHDRAWN = "withdrawn"
_CURRENT = "current.json"
_REMEDY = "Restore it from a copy; or remove it, and the store no longer knows what it recorded."


class Lineage(Section):
    """The origin of a version."""

    candidate: str
    """Digest of all that determined the model: data, configuration and source."""
    parent: int | None
    """The champion that it was judged against; null for the first version."""
    data: str
    """Root of the library."""
    span: int
    """The newest span of `window`."""
    window: tuple[int, ...]
    """Spans that it was trained on, ascending."""
    golden: int | None = None
    """Span whose test split was its golden set; null where there is no golden set."""
    code: str = ""
    """Digest of the source that made it; empty if that is not known."""
    config: str = ""
    """Digest of the whole configuration; empty if that is not known."""


class Withdrawal(Section):
    """Records that a version was rolled back."""

    candidate: str | None
    """Its `Lineage.candidate`; null for a version that was put into the store by hand."""
    time: Time
    reason: str
    served: int
    """The version that took its place."""


class Current(Section):
    """The content of the file that points at the served version."""

    version: int


def versions(store: epath.Path) -> list[int]:
    """Returns the numbers of the versions in the store, ascending."""
    if not store.exists():
        return []
    return sorted(int(path.name) for path in store.iterdir() if path.name.isdigit())


def current_version(store: epath.Path) -> int | None:
    """Returns the version that is served; None before the first push.

    Raises:
      UserError: the pointer cannot be read, or points at a version that does not exist.
    """
    pointer = store / _CURRENT
    remedy = f'Write {{"version": N}} into it, with N one of {versions(store)}.'
    current = find_record(pointer, Current, remedy)
    if current is None:
        return None
    if not version_dir(store, current.version).exists():
        raise UserError(f"{pointer}: points at version {current.version}, which does not exist. {remedy}")
    return current.version


def version_dir(store: epath.Path, version: int) -> epath.Path:
    """Returns the directory of a version's SavedModel."""
    return store / str(version)


def read_lineage(store: epath.Path, version: int) -> Lineage | None:
    """Reads the origin of a version; None for a version that was put into the store by hand."""
    return find_record(SavedModel(version_dir(store, version)).lineage, Lineage, _REMEDY)


def read_verdict(store: epath.Path, version: int) -> Verdict | None:
    """Reads the gate's verdict on a version; None for a version that was put into the store by hand."""
    return find_record(SavedModel(version_dir(store, version)).verdict, Verdict, _REMEDY)


def withdrawal_of(store: epath.Path, version: int) -> Withdrawal | None:
    """Reads when and why a version was rolled back; None if it was not."""
    return find_record(_withdrawal_file(store, version), Withdrawal, _REMEDY)


def _withdrawal_file(store: epath.Path, version: int) -> epath.Path:
    return store / _WITHDRAWN / f"{version}.json"


def withdrawn_version(store: epath.Path, candidate: str) -> int | None:
    """Returns the version that a candidate had when it was rolled back, even if that version was removed since.

    None: it was never rolled back.
    """
    found = (version for version, withdrawal in withdrawals(store).items() if withdrawal.candidate == candidate)
    return next(found, None)


def withdrawals(store: epath.Path) -> dict[int, Withdrawal]:
    """Reads all roll-backs, ascending by version; the versions themselves may have been removed since."""
    if not (store / _WITHDRAWN).exists():
        return {}
    found = sorted(int(path.stem) for path in (store / _WITHDRAWN).glob("*.json") if path.stem.isdigit())
    return {version: withdrawal for version in found if (withdrawal := withdrawal_of(store, version))}


def roll_back(store: epath.Path, version: int | None = None, reason: str = "") -> tuple[int, int]:
    """Serves an earlier version again, and withdraws the served one for good.

    A call after an interrupted one finishes it.

    Args:
      version: the version to serve. None: the champion that the served version was judged against. If that was removed
        or rolled back, the newest earlier version that was not.
      reason: recorded for later readers.

    Returns:
      The version that was served until now, and the version that is served from now on.

    Raises:
      UserError: there is no version to go back to, or `version` cannot be served.
    """
    served = current_version(store)
    if served is None:
        raise UserError(
            f"{store}: no model has been pushed yet, so there is none to roll back. `genre run` pushes one."
        )
    sound = [each for each in versions(store) if each != served and not withdrawal_of(store, each)]
    lineage = read_lineage(store, served)
    if version is None:
        parent = lineage.parent if lineage else None
        earlier = [each for each in sound if each < served]
        if not earlier:
            raise UserError(f"{store}: there is no version before {served} that could be served. Name one to serve.")
        version = parent if parent in earlier else earlier[-1]
    elif version == served:
        raise UserError(f"{store}: version {version} is served already. Name one of {sound or 'no others'}.")
    elif version not in sound:
        known = "was itself rolled back" if version in versions(store) else "is not there"
        raise UserError(f"{store}: version {version} {known}. There are {sound or 'no others'}.")
    interrupted = withdrawal_of(store, served)  # of a call that was killed before it moved the pointer
    withdrawal = Withdrawal(
        candidate=lineage.candidate if lineage else None,
        time=interrupted.time if interrupted else timestamp(datetime.now(UTC)),
        reason=interrupted.reason if interrupted else reason,
        served=version,
    )
    if withdrawal != interrupted:
        write_atomically(_withdrawal_file(store, served), withdrawal.model_dump_json(indent=2))
    _write_pointer(store, version)
    return served, version


def _write_pointer(store: epath.Path, version: int) -> None:
    write_atomically(store / _CURRENT, Current(version=version).model_dump_json())


def prune(store: epath.Path, keep: int) -> list[int]:
    """Removes the oldest versions until `keep` are left, but never the served version nor its parent.

    Returns:
      The versions that were removed.
    """
    have = versions(store)
    served = current_version(store)
    lineage = read_lineage(store, served) if served is not None else None
    needed = {served, lineage.parent if lineage else None}
    removed = [version for version in have[: max(0, len(have) - keep)] if version not in needed]
    for version in removed:
        # Renamed first: a version that is half removed must not look like a version.
        gone = store / f".incoming-{version}-removed"
        version_dir(store, version).rename(gone)
        gone.rmtree()
    return removed


def champion_of(store: epath.Path, candidate: str) -> int | None:
    """Returns the version that a candidate must not be worse than; None if there is none.

    That is the served version. If the candidate itself is served already, it is the version that the candidate was
    judged against, so that a run with nothing changed asks the same question and finds the same answer.
    """
    version = current_version(store)
    while version is not None and version_dir(store, version).exists():
        lineage = read_lineage(store, version)
        if lineage is None or lineage.candidate != candidate:
            return version
        version = lineage.parent
    return None


def best_on_golden(store: epath.Path, version: int | None) -> Predecessor | None:
    """Finds the ancestor of a version that is best on the golden set, and better than the version itself.

    Only ancestors count that were judged on the same golden clips as the version, and that were not rolled back. A
    version's own verdict names the best of its line, so that this is still known when the ancestor was removed.

    Args:
      version: None: there is no version yet, so it has no ancestors.

    Returns:
      The gate's argument `best`; None where the version is the best of its line, or nothing is known.
    """
    own, each = None, version
    found: list[Predecessor] = []
    while each is not None and version_dir(store, each).exists():
        verdict, lineage = read_verdict(store, each), read_lineage(store, each)
        golden = verdict and verdict.on_golden
        if golden and golden.outcomes:
            if each == version:
                own = golden.outcomes
            else:
                found.append(Predecessor(version=each, **golden.outcomes.model_dump()))
        if verdict and verdict.best:
            found.append(verdict.best)
        each = lineage.parent if lineage else None
    if own is None:
        return None
    better = [
        one
        for one in found
        if one.clips == own.clips and one.accuracy > own.accuracy and not withdrawal_of(store, one.version)
    ]
    return max(better, key=lambda one: one.accuracy, default=None)


def publish(
    store: epath.Path,
    saved_model: epath.Path,
    lineage: Lineage,
    verdict: Verdict | None = None,
    check: Callable[[epath.Path], None] = lambda version: None,
    reference: epath.Path | None = None,
) -> int:
    """Puts a SavedModel into the store under the next number, then serves it.

    A reader sees the whole version or nothing of it, and the pointer moves last. A call after an interrupted one
    finishes it, and does not number the same candidate twice.

    Args:
      check: called with the copy before it becomes a version. If it raises, the push ends and nothing has changed.
      reference: file with the profile that drift will be measured against.

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
        files = SavedModel(incoming)
        files.extra.mkdir(parents=True, exist_ok=True)
        files.lineage.write_text(lineage.model_dump_json(indent=2))
        if verdict:
            files.verdict.write_text(verdict.model_dump_json(indent=2))
        if reference:
            reference.copy(files.reference)
        check(incoming)
        move_directory(incoming, version_dir(store, version))
    _write_pointer(store, version)
    return version


def _copy_tree(source: epath.Path, target: epath.Path) -> None:
    for path in source.iterdir():
        if path.is_dir():
            _copy_tree(path, target / path.name)
        else:
            target.mkdir(parents=True, exist_ok=True)
            path.copy(target / path.name)
