"""Pushed models on disk: the versions, and which of them is served.

<store>/<version>/                             a SavedModel, numbered as TensorFlow Serving expects
<store>/<version>/assets.extra/lineage.json    where it came from
<store>/<version>/assets.extra/verdict.json    what the gate said of it
<store>/<version>/assets.extra/reference.npz   profile of the clips it was measured on; see `components.drift.profile`
<store>/withdrawn/<version>.json               that it was rolled back, and why; stays when the version is removed
<store>/current.json                           the version that is served; moved last, atomically
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from etils import epath
from pydantic import ValidationError

from components.base.errors import UserError
from components.base.files import write_atomically
from components.base.section import Section, problems
from components.base.times import Time, timestamp
from components.evaluation.results import Predecessor, Verdict

LINEAGE = "assets.extra/lineage.json"
REFERENCE = "assets.extra/reference.npz"
WITHDRAWN_PROPERTY = "withdrawn_version"
"""Of a pushed model's artifact: the version that it had when it was rolled back; not there if it never was."""
_VERDICT = "assets.extra/verdict.json"
_WITHDRAWN = "withdrawn"
_CURRENT = "current.json"
_Record = TypeVar("_Record", bound=Section)


class Lineage(Section):
    """Where a version came from."""

    candidate: str
    """Digest of all that determined the model: data, configuration and source."""
    parent: int | None
    """The champion that it was judged against; null for the first."""
    data: str
    span: int
    """The newest of `window`."""
    window: tuple[int, ...] = ()
    """Spans that it was trained on, ascending; empty in lineages of before there were windows."""
    golden: int | None = None
    """Span whose test split was its golden set."""
    code: str = ""
    """Digest of the source that made it."""
    config: str = ""
    """Digest of the whole configuration."""

    @property
    def spans(self) -> tuple[int, ...]:
        """Spans that it was trained on, ascending."""
        return self.window or (self.span,)


class Withdrawal(Section):
    """That a version was rolled back."""

    candidate: str | None
    """See `Lineage`; null for a version that was put there by hand."""
    time: Time
    reason: str
    served: int | None = None
    """The version that took its place; null in records of an early version of this project."""


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


def _read(path: epath.Path, kind: type[_Record]) -> _Record | None:
    """A record of the store; None where there is none."""
    if not path.exists():
        return None
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(
            f"{path}: damaged, or of another version of this project: {'; '.join(problems(error))}. Restore it, or "
            "remove it: the store then knows nothing of what it said."
        ) from error


def read_lineage(store: epath.Path, version: int) -> Lineage | None:
    """Where a version came from; None of one that was put there by hand."""
    return _read(version_dir(store, version) / LINEAGE, Lineage)


def read_verdict(store: epath.Path, version: int) -> Verdict | None:
    """What the gate said of a version before it was pushed; None of one that was put there by hand."""
    return _read(version_dir(store, version) / _VERDICT, Verdict)


def withdrawal_of(store: epath.Path, version: int) -> Withdrawal | None:
    """When and why a version was rolled back, if it was."""
    return _read(store / _WITHDRAWN / f"{version}.json", Withdrawal)


def withdrawn_version(store: epath.Path, candidate: str) -> int | None:
    """The version that a candidate had when it was rolled back, if it was; that version itself may be gone."""
    of = (version for version, withdrawal in withdrawals(store).items() if withdrawal.candidate == candidate)
    return next(of, None)


def withdrawals(store: epath.Path) -> dict[int, Withdrawal]:
    """What was ever rolled back, ascending by version; the versions themselves may be gone."""
    if not (store / _WITHDRAWN).exists():
        return {}
    found = sorted(int(path.stem) for path in (store / _WITHDRAWN).glob("*.json") if path.stem.isdigit())
    return {version: withdrawal for version in found if (withdrawal := withdrawal_of(store, version))}


def roll_back(store: epath.Path, version: int | None = None, reason: str = "") -> tuple[int, int]:
    """Serves an earlier version again, and withdraws the served one for ever.

    Called again after an interruption, it finishes what was begun.

    Args:
      version: what to serve; None: the champion that the served version was judged against, or, where that is gone or
        was itself rolled back, the newest before it that was not.
      reason: for those who ask later.

    Returns:
      The version that was served until now, and the one that is from now on.

    Raises:
      UserError: there is no version to go back to, or `version` cannot be served.
    """
    served = current_version(store)
    if served is None:
        raise UserError(f"{store}: no model has been pushed yet, so there is none to roll back.")
    sound = [each for each in versions(store) if each != served and not withdrawal_of(store, each)]
    lineage = read_lineage(store, served)
    if version is None:
        parent = lineage.parent if lineage else None
        earlier = [each for each in sound if each < served]
        if not earlier:
            raise UserError(f"{store}: there is no version before {served} that could be served.")
        version = parent if parent in earlier else earlier[-1]
    elif version == served:
        raise UserError(f"{store}: version {version} is served already.")
    elif version not in sound:
        known = "was itself rolled back" if version in versions(store) else "is not there"
        raise UserError(f"{store}: version {version} {known}. There are {sound or 'no others'}.")
    if not (withdrawal := withdrawal_of(store, served)):  # else an earlier attempt came no further
        time = timestamp(datetime.now(UTC))
        withdrawal = Withdrawal(candidate=lineage and lineage.candidate, time=time, reason=reason)
    if withdrawal.served != version:
        withdrawal = withdrawal.model_copy(update={"served": version})
        write_atomically(store / _WITHDRAWN / f"{served}.json", withdrawal.model_dump_json(indent=2))
    _write_pointer(store, version)
    return served, version


def _write_pointer(store: epath.Path, version: int) -> None:
    write_atomically(store / _CURRENT, Current(version=version).model_dump_json())


def prune(store: epath.Path, keep: int) -> list[int]:
    """Removes the oldest versions until `keep` are left, but never the served one nor the one to roll back to.

    Returns:
      The versions that were removed.
    """
    have = versions(store)
    served = current_version(store)
    lineage = read_lineage(store, served) if served is not None else None
    needed = {served, lineage.parent if lineage else None}
    removed = [version for version in have[: max(0, len(have) - keep)] if version not in needed]
    for version in removed:
        # Out of the readers' sight first: what is half removed must not look like a version.
        gone = store / f".incoming-{version}-removed"
        version_dir(store, version).rename(gone)
        gone.rmtree()
    return removed


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


def best_on_golden(store: epath.Path, version: int | None) -> Predecessor | None:
    """The best on the golden set of all that a version descends from, if that is better than the version itself.

    Only those count that were judged on the same golden clips as the version, and that were not rolled back. A version
    whose ancestor was removed still knows the best of its line by its own verdict, so that a line cannot forget how
    good it was.

    Args:
      version: None: there is none, so that nothing is before it.

    Returns:
      What the gate takes as `best`; None where the version is the best of its line, or nothing is known.
    """
    own, found, each = None, [], version
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
        each = lineage and lineage.parent
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
    """Puts a SavedModel into the store under the next number, then points at it.

    A reader sees the whole version or nothing of it, and the pointer moves last. Called again after an interruption,
    it finishes what was begun, and does not number the same candidate twice.

    Args:
      check: called with the copy before it becomes a version; what it raises ends the push, and nothing has changed.
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
        (incoming / LINEAGE).parent.mkdir(parents=True, exist_ok=True)
        (incoming / LINEAGE).write_text(lineage.model_dump_json(indent=2))
        if verdict:
            (incoming / _VERDICT).write_text(verdict.model_dump_json(indent=2))
        if reference:
            reference.copy(incoming / REFERENCE)
        check(incoming)
        incoming.rename(version_dir(store, version))
    _write_pointer(store, version)
    return version


def _copy_tree(source: epath.Path, target: epath.Path) -> None:
    for path in source.iterdir():
        if path.is_dir():
            _copy_tree(path, target / path.name)
        else:
            target.mkdir(parents=True, exist_ok=True)
            path.copy(target / path.name)
