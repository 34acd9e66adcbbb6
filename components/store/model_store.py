"""The model store: the versions that were pushed, and which of them is served.

<store>/<version>/                a SavedModel, numbered as TensorFlow Serving expects; see `saved_model`
<store>/withdrawn/<version>.json  when and why it was rolled back; stays when the version is removed
<store>/damaged/<version>/        a version whose files were damaged; nothing reads it, and it may be removed
<store>/current.json              the version that is served; written last, atomically
<store>/.push.lock, .lock         held during a push; held while versions, withdrawals and pointer are changed

Whatever changes the store holds `.lock` from its checks to its last write. In a bucket, the locks are `leases`, and the
pointer moves only from where it was when `.lock` was got: so a process that lost its lock cannot move it. There, a
directory is a version when `saved_model.pb`, its last file, is there.
"""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from etils import epath

from components.base.errors import DamagedError, UserError
from components.base.files import in_bucket, make_directory, move_directory, remove
from components.base.json_records import find_record, sealed, write_record
from components.base.leases import leased
from components.base.locks import held, this_process
from components.base.objects import NONE, ChangedError, StoredObject
from components.base.section import Section
from components.base.times import Time, timestamp
from components.evaluation.results import Predecessor, Verdict
from components.store.checksums import find_damage, require_sound, write_checksums
from components.store.model_card import ModelCard, find_card
from components.store.saved_model import SavedModel

WITHDRAWN_PROPERTY = "withdrawn_version"
"""Property of a pushed model's artifact: its version when it was rolled back; missing if it never was."""
_WITHDRAWN = "withdrawn"
_DAMAGED = "damaged"
_CURRENT = "current.json"
_LAST = "saved_model.pb"
"""File of a version that comes last to a bucket."""
_INCOMING, _REMOVED = ".incoming", ".removed"
"""Directories that are no versions yet, or no more."""
_PUSH_LOCK, _LOCK = ".push.lock", ".lock"
_PATIENCE = 60.0
"""Seconds to wait for another process that changes the store."""
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
    """Its `Lineage.candidate`; null for a version that was put into the store by hand, or whose files were damaged: the
    same model may be pushed again."""
    time: Time
    reason: str
    served: int | None
    """The version that took its place; null if there was none."""
    damaged: bool = False
    """Its files were damaged, see `components.store.checksums`."""


class Current(Section):
    """The content of the file that points at the served version."""

    version: int


class WithdrawnError(UserError):
    """A candidate is not pushed, because it was rolled back."""

    def __init__(self, message: str, version: int) -> None:
        """`version`: its number when it was rolled back."""
        super().__init__(message)
        self.version = version


def versions(store: epath.Path) -> list[int]:
    """Returns the numbers of the versions in the store, ascending."""
    return [number for number in _numbers(store) if _is_version(version_dir(store, number))]


def _is_version(directory: epath.Path) -> bool:
    return (directory / _LAST).exists() if in_bucket(directory) else directory.is_dir()


def _numbers(directory: epath.Path, suffix: str = "") -> list[int]:
    """Returns the numbers that name files and directories, with this suffix, ascending; none without a directory."""
    if not directory.is_dir():
        return []
    number = re.compile(r"[1-9][0-9]{0,17}" + re.escape(suffix))
    names = (path.name for path in directory.iterdir())
    return sorted(int(name.removesuffix(suffix)) for name in names if number.fullmatch(name))


def _withdrawn_numbers(store: epath.Path) -> list[int]:
    return _numbers(store / _WITHDRAWN, ".json")


def current_version(store: epath.Path) -> int | None:
    """Returns the version that is served; None before the first push.

    Raises:
      UserError: the pointer cannot be read, or points at a version that does not exist.
    """
    pointer, have = store / _CURRENT, versions(store)
    usable = [version for version in have if version not in _withdrawn_numbers(store)]
    remedy = f'Write {{"version": N}} into it, with N one of {usable}.'
    current = find_record(pointer, Current, remedy)
    if current is not None and current.version not in have:
        raise UserError(f"{pointer}: points at version {current.version}, which does not exist. {remedy}")
    return current.version if current else None


def version_dir(store: epath.Path, version: int) -> epath.Path:
    """Returns the directory of a version's SavedModel."""
    return store / str(version)


def read_lineage(store: epath.Path, version: int) -> Lineage | None:
    """Reads the origin of a version; None for a version that was put into the store by hand.

    Raises:
      UserError: it is damaged. A parent is always an earlier version, so that every line of parents ends.
    """
    file = SavedModel(version_dir(store, version)).lineage
    require_sound(version_dir(store, version), file)
    lineage = find_record(file, Lineage, _REMEDY)
    if lineage and lineage.parent is not None and lineage.parent >= version:
        raise DamagedError(f"{file}: damaged: parent: version {lineage.parent} is no earlier version. {_REMEDY}")
    return lineage


def read_verdict(store: epath.Path, version: int) -> Verdict | None:
    """Reads the gate's verdict on a version; None for a version that was put into the store by hand.

    Raises:
      UserError: it is damaged.
    """
    file = SavedModel(version_dir(store, version)).verdict
    require_sound(version_dir(store, version), file)
    return find_record(file, Verdict, _REMEDY)


def find_version_card(store: epath.Path, version: int) -> ModelCard | None:
    """Reads the card of a version; None for a model that another program exported.

    Raises:
      UserError: it is damaged.
    """
    directory = version_dir(store, version)
    require_sound(directory, SavedModel(directory).card)
    return find_card(directory)


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
    found = ((version, withdrawal_of(store, version)) for version in _withdrawn_numbers(store))
    return {version: withdrawal for version, withdrawal in found if withdrawal}


class _Pointer:
    """The pointer at the served version, which moves from where it was when the lock of the store was got."""

    def __init__(self, store: epath.Path, require: Callable[[], None]) -> None:
        """`require`: raises UserError if the lock is lost."""
        self._file, self.require = store / _CURRENT, require
        self._object = StoredObject(str(self._file)) if in_bucket(store) else None
        self._generation = self._object.read()[1] if self._object else NONE

    def move(self, version: int | None) -> None:
        """Points at another version; None: at none.

        Raises:
          UserError: another process has moved it, or taken the lock over.
        """
        self.require()
        try:
            if self._object is None:
                _write_pointer(self._file, version)
            elif version is None:
                self._object.delete(self._generation)
            else:
                self._object.write(sealed(Current(version=version)).encode(), self._generation)
        except ChangedError as error:
            raise UserError(
                f"{self._file}: another process has moved it meanwhile. Nothing of this one is served. Run again."
            ) from error


def _write_pointer(file: epath.Path, version: int | None) -> None:
    if version is None:
        remove(file)
    else:
        write_record(file, Current(version=version))


@contextmanager
def _locked(store: epath.Path, name: str = _LOCK) -> Iterator[_Pointer]:
    """Holds a lock of the store, after waiting for another process that holds it; yields its pointer.

    Raises:
      HeldError: the other process does not end.
    """
    remedy = "Wait for it to end, or end it; then give the same command again."
    told = this_process(), "is changing this model store", remedy, _PATIENCE
    if in_bucket(store):
        with leased(str(store / name), *told) as lease:
            yield _Pointer(store, lease.require)
    else:
        with held(Path(store) / name, *told):
            yield _Pointer(store, lambda: None)


def roll_back(store: epath.Path, version: int | None = None, reason: str = "") -> tuple[int, int | None]:
    """Serves an earlier version again, and withdraws the served one for good.

    A call after an interrupted one finishes it. A served version that is damaged is moved out of the way; if no other
    can be served, none is, and the same model may be pushed again.

    Args:
      version: the version to serve. None: the champion that the served version was judged against. If that was removed,
        rolled back or damaged, the newest earlier version that was not.
      reason: recorded for later readers.

    Returns:
      The version that was served until now, and the version that is served from now on.

    Raises:
      UserError: there is no version to go back to, or `version` cannot be served.
    """
    if current_version(store) is None:
        raise UserError(
            f"{store}: no model has been pushed yet, so there is none to roll back. `genre run` pushes one."
        )
    with _locked(store) as pointer:
        served = current_version(store)
        if served is None:
            raise UserError(f"{store}: no version is served any more: another process rolled back the last one.")
        damage = lineage = None
        with suppress(UserError):  # a version whose files cannot be read can be rolled back, too
            damage = find_damage(version_dir(store, served))
            lineage = None if damage else read_lineage(store, served)
        version = _successor(store, served, lineage, version, none_may_do=damage is not None)
        interrupted = withdrawal_of(store, served)  # of a call that was killed before it moved the pointer
        withdrawal = Withdrawal(
            candidate=lineage.candidate if lineage else None,
            time=interrupted.time if interrupted else timestamp(datetime.now(UTC)),
            reason=interrupted.reason if interrupted else reason or damage or "",
            served=version,
            damaged=damage is not None,
        )
        if withdrawal != interrupted:
            write_record(_withdrawal_file(store, served), withdrawal)
        pointer.move(version)
        if damage:
            _put_away(store, served)
        return served, version


def _successor(
    store: epath.Path, served: int, lineage: Lineage | None, wanted: int | None, none_may_do: bool
) -> int | None:
    """Returns the version that takes the place of the served one, as `roll_back` describes."""
    sound = [each for each in versions(store) if each != served and not _unfit(store, each)]
    if wanted is None:
        earlier = [each for each in sound if each < served]
        if not earlier:
            if none_may_do:
                return None
            raise UserError(f"{store}: there is no version before {served} that could be served. Name one to serve.")
        return lineage.parent if lineage and lineage.parent in earlier else earlier[-1]
    if wanted == served:
        raise UserError(f"{store}: version {wanted} is served already. Name one of {sound or 'no others'}.")
    if wanted not in sound:
        problem = _unfit(store, wanted) if wanted in versions(store) else "is not there"
        raise UserError(f"{store}: version {wanted} {problem}. There are {sound or 'no others'}.")
    return wanted


def _unfit(store: epath.Path, version: int) -> str:
    """Returns why a version must not be served again; empty if it may."""
    withdrawn = _withdrawn_numbers(store)
    if version in withdrawn:
        return "was itself rolled back"
    try:
        if find_damage(version_dir(store, version)):
            return "is damaged"
        lineage = read_lineage(store, version)
    except UserError:
        return "cannot be read"
    if lineage and lineage.parent in withdrawn:  # of a push that was killed before it was served
        return f"was judged against version {lineage.parent}, which was rolled back"
    return ""


def _put_away(store: epath.Path, version: int) -> None:
    """Moves a damaged version to where nothing reads it."""
    make_directory(store / _DAMAGED)
    place = store / _DAMAGED / str(version)
    if place.exists():
        place.rmtree()
    move_directory(version_dir(store, version), place)


def prune(store: epath.Path, keep: int) -> list[int]:
    """Removes the oldest versions until `keep` are left, but never the served version nor its parent.

    Returns:
      The versions that were removed.
    """
    with _locked(store, _PUSH_LOCK):
        _sweep(store)
        with _locked(store):
            have = versions(store)
            served = current_version(store)
            lineage = read_lineage(store, served) if served is not None else None
            needed = {served, lineage.parent if lineage else None}
            removed = [version for version in have[: max(0, len(have) - keep)] if version not in needed]
            for version in removed:  # a version that is half removed must not look like a version
                if in_bucket(store):
                    (version_dir(store, version) / _LAST).unlink()
                else:
                    version_dir(store, version).rename(store / f"{_REMOVED}-{version}")
        _sweep(store)
    return removed


def _sweep(store: epath.Path) -> None:
    """Removes what is no version, and what a killed push left. The caller holds the lock of pushes."""
    for path in store.iterdir():
        if path.name.startswith((_INCOMING, _REMOVED)):
            path.rmtree()
    for number in _numbers(store):
        if not _is_version(version_dir(store, number)) and in_bucket(store):
            version_dir(store, number).rmtree()


def champion_of(store: epath.Path, candidate: str) -> int | None:
    """Returns the version that a candidate must not be worse than; None if there is none.

    That is the served version. If the candidate itself is served already, it is the version that the candidate was
    judged against, so that a run with nothing changed asks the same question and finds the same answer.
    """
    version = current_version(store)
    while version is not None and version_dir(store, version).is_dir():
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
    while each is not None and version_dir(store, each).is_dir():
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
    complete: Callable[[epath.Path], None] = lambda version: None,
) -> int:
    """Puts a SavedModel into the store under the next number, then serves it.

    A reader sees the whole version or nothing of it, and the pointer moves last. A call after an interrupted one
    finishes it, and does not number the same candidate twice, unless the first version was damaged since. The number of
    a version that was rolled back or damaged is not used again.

    Args:
      check: called with the copy before it becomes a version. If it raises, the push ends and nothing has changed.
      reference: file with the profile that drift will be measured against.
      complete: called before with the copy, to put more into it.

    Returns:
      The version.

    Raises:
      WithdrawnError: the candidate was rolled back.
      UserError: another process has pushed or rolled back since the candidate was judged; or `check` raised it.
    """
    make_directory(store)
    with _locked(store, _PUSH_LOCK) as pushing:
        _require_admitted(store, lineage)  # before the work
        _sweep(store)
        have = versions(store)
        newest = have[-1] if have else None
        damaged = newest is not None and find_damage(version_dir(store, newest)) is not None
        origin = read_lineage(store, newest) if newest is not None and not damaged else None
        again = origin is not None and (origin.candidate, origin.parent) == (lineage.candidate, lineage.parent)
        version = newest if again else None
        # A name of its own: who lost the lock must not write into what another copies.
        incoming = store / f"{_INCOMING}-{uuid.uuid4().hex}"
        if version is None:
            _copy_tree(saved_model, incoming)
            files = SavedModel(incoming)
            files.extra.mkdir(parents=True, exist_ok=True)
            write_record(files.lineage, lineage)
            if verdict:
                files.verdict.write_text(verdict.model_dump_json(indent=2))
            if reference:
                reference.copy(files.reference)
            complete(incoming)
            write_checksums(incoming)
            check(incoming)
        with _locked(store) as pointer:
            _require_admitted(store, lineage)
            if version is None:
                pushing.require()
                taken = (*_numbers(store), *_withdrawn_numbers(store), *_numbers(store / _DAMAGED))
                version = max(taken, default=0) + 1
                _make_version(incoming, version_dir(store, version))
            pointer.move(version)
            if damaged and newest in versions(store):  # a roll-back may have put it away meanwhile
                _put_away(store, newest)
    return version


def _require_admitted(store: epath.Path, lineage: Lineage) -> None:
    """Checks that the store is still as it was when the candidate was judged.

    Raises:
      WithdrawnError: the candidate was rolled back, and the gate does not know why.
      UserError: another version is served than the one that the candidate was judged against, or that one is being
        rolled back.
    """
    champion = champion_of(store, lineage.candidate)
    if champion != lineage.parent:
        raise UserError(
            f"{store}: version {champion} is served by now, but the candidate was judged against "
            f"{f'version {lineage.parent}' if lineage.parent else 'none'}. Run again: the candidate is then judged "
            "against the new champion, and nothing else is computed again."
        )
    if withdrawn := withdrawn_version(store, lineage.candidate):
        message = f"{store}: this model is version {withdrawn}, which was rolled back; it is not pushed again."
        raise WithdrawnError(message, withdrawn)
    if champion is not None and withdrawal_of(store, champion):
        raise UserError(
            f"{store}: version {champion} is served, but a roll-back of it was interrupted. `genre rollback` finishes "
            "it; then run again."
        )


def _make_version(incoming: epath.Path, target: epath.Path) -> None:
    """Moves a complete directory to where it is a version, whole or not at all."""
    if not in_bucket(target):
        move_directory(incoming, target)
        return
    for path in incoming.iterdir():
        if path.is_dir():
            _copy_tree(path, target / path.name)
        elif path.name != _LAST:
            target.mkdir(parents=True, exist_ok=True)
            path.copy(target / path.name)
    (incoming / _LAST).copy(target / _LAST)
    incoming.rmtree()


def _copy_tree(source: epath.Path, target: epath.Path) -> None:
    for path in source.iterdir():
        if path.is_dir():
            _copy_tree(path, target / path.name)
        else:
            target.mkdir(parents=True, exist_ok=True)
            path.copy(target / path.name)
