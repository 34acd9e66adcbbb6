"""Removes what no run, no version and no record of a workspace needs any more. Needs no TensorFlow.

These stay: the model store, the history, the spans that were set aside, and

- artifacts that the present runs would take from the cache;
- artifacts that the last run used, and the last run that came to its end;
- the report of every version in the store;
- checkpoints of the present candidates, until the gate judges them;
- the folders of the last runs, and of those that pushed a version in the store;
- results of `genre compare`.

The rest of `artifacts/`, `checkpoints/` and `runs/` goes, and so do temporary files of writers that were killed. ML
Metadata has an artifact as deleted before its files are removed, so a call after a killed one finishes it.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from components.retraining.history import read_record
from components.store.model_store import versions
from pipeline.local.cache import Executions, forget, mark_deleted, open_metadata, sealed
from pipeline.planning.prospect import Prospect
from pipeline.workspace import Workspace

_LAST_RUNS = 10
"""Folders of the last runs that stay."""
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")
"""Names of `components.base.files.replacing`."""
_WRITING = 5.0
"""Age in seconds up to which a temporary file may belong to a living writer. Writers need milliseconds."""


class Leftovers(NamedTuple):
    """Files and folders of a kind that nothing needs."""

    kind: str
    paths: tuple[Path, ...]

    def __str__(self) -> str:
        size = sum(path.lstat().st_size for root in self.paths for path in (root, *root.rglob("*")))
        return f"{self.kind}: {len(self.paths)}, {size / 1e6:.1f} MB"


def clean(prospects: Sequence[Prospect], say: Callable[[str], None], *, dry_run: bool = False) -> None:
    """Removes what is not needed. The caller must hold the lock of the workspace.

    Args:
      prospects: the present runs, all of one workspace.
      say: called with a line for each kind of leftovers.
      dry_run: whether to leave all as it is.

    Raises:
      UserError: ML Metadata or the history is damaged.
    """
    workspace = prospects[0].inputs.workspace
    with sealed(workspace):
        store = open_metadata(workspace)
        known = Executions(store)
        runs = _runs_to_keep(known)
        needed = _needed(known, runs, prospects)
        found = (
            Leftovers("temporary files", tuple(_temporary_files(workspace))),
            Leftovers("checkpoints", tuple(_checkpoints(prospects))),
            Leftovers("runs", tuple(_run_folders(workspace, set(runs)))),
            Leftovers("artifacts", tuple(_artifacts(workspace, {known.artifacts[each].uri for each in needed}))),
        )
        if not dry_run:  # first of all, so that nothing is served whose files are going
            mark_deleted(store, (known.artifacts[each] for each in known.live - needed))
        _remove(found, say, dry_run=dry_run)
        if not dry_run:
            kept = {id_ for run in runs for id_ in known.by_run[run]}
            kept |= {each.id for each in known.complete if known.outputs[each.id] & needed}
            forget(workspace, {each.id for each in known.all} - kept)


def clear_cache(workspace: Workspace, say: Callable[[str], None], *, dry_run: bool = False) -> None:
    """Removes all artifacts and ML Metadata, damaged or not; otherwise as `clean`."""
    root = workspace.local
    artifacts, metadata = (tuple(root.glob(pattern)) for pattern in ("artifacts/*", "metadata.*"))
    _remove((Leftovers("artifacts of nodes", artifacts), Leftovers("ML Metadata", metadata)), say, dry_run=dry_run)


def _remove(found: Sequence[Leftovers], say: Callable[[str], None], *, dry_run: bool) -> None:
    for leftovers in found:
        say(str(leftovers))
        for path in () if dry_run else leftovers.paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    say("dry run: nothing was removed" if dry_run else "removed")


def _runs_to_keep(known: Executions) -> list[str]:
    """Returns the last run and the last that came to its end, as ids."""
    recorded = {each.id for each in known.of("Recorder")}
    whole = [run for run, executions in known.by_run.items() if executions & recorded]
    return sorted({*list(known.by_run)[-1:], *whole[-1:]})


def _needed(known: Executions, runs: Sequence[str], prospects: Sequence[Prospect]) -> set[int]:
    """Returns the ids of the artifacts that stay."""
    used = {id_ for run in runs for id_ in known.by_run[run]}
    needed = {artifact for id_ in used for artifact in known.inputs[id_] | known.outputs[id_]}
    for prospect in prospects:
        needed |= known.cached_for(prospect.plan.texts().values())
    stored = set(map(str, versions(prospects[0].inputs.workspace.models)))
    pushed = {
        id_
        for id_, each in known.artifacts.items()
        if "pushed_version" in each.custom_properties
        and each.custom_properties["pushed_version"].string_value in stored
    }
    for report in known.of("Reporter"):
        if known.inputs[report.id] & pushed:
            needed |= known.outputs[report.id]
    return needed & known.live


def _temporary_files(workspace: Workspace) -> Iterator[Path]:
    root, now = workspace.local, time.time()
    yield from root.glob("runs/*/tmp")
    yield from root.glob("artifacts/*/.system/*/*")  # TFX's, of executions that are over
    yield from root.glob("models/.incoming-*")
    yield from root.glob("compare/kept/*.partial")
    # Checkpoints of a model whose result is kept.
    yield from (each.with_suffix("") for each in root.glob("compare/kept/*.json") if each.with_suffix("").is_dir())
    for folder, below, names in os.walk(root):
        if folder == str(root):
            below[:] = set(below) - {"artifacts", "checkpoints"}
        for path in (Path(folder, name) for name in names if _TEMPORARY.fullmatch(name)):
            with suppress(FileNotFoundError):  # it was a living writer's
                if now - path.stat().st_mtime > _WRITING:
                    yield path


def _checkpoints(prospects: Sequence[Prospect]) -> Iterator[Path]:
    """Yields the checkpoints that no present candidate continues from: those from before its first run, or all."""
    workspace = prospects[0].inputs.workspace
    records = (read_record(workspace.history, each.facts.candidate) for each in prospects)
    begun = [
        datetime.fromisoformat(record.started[0]).timestamp()
        for record in records
        if record and record.started and not record.outcome
    ]
    for path in workspace.local.glob("checkpoints/*"):
        if not begun or max(each.stat().st_mtime for each in (path, *path.rglob("*"))) < min(begun):
            yield path


def _run_folders(workspace: Workspace, kept: set[str]) -> Iterator[Path]:
    folders = sorted(workspace.local.glob("runs/*"))[:-_LAST_RUNS]
    stored = versions(workspace.models)
    for folder in folders:
        if folder.name not in kept and _pushed_by(folder) not in stored:
            yield folder


def _pushed_by(run: Path) -> int | None:
    """Returns the version that a run pushed; None if it pushed none, or one that was there."""
    with suppress(OSError, ValueError, KeyError, TypeError):  # killed before its summary was written, or damaged
        summary = json.loads((run / "summary.json").read_bytes())
        if summary["newly_pushed"]:
            return summary["pushed"]["version"]
    return None


def _artifacts(workspace: Workspace, kept: set[str]) -> Iterator[Path]:
    """Yields the folders of artifacts, `<node>/<output>/<execution>`, except those of the URIs in `kept`."""
    held = {folder for uri in kept for folder in (os.path.realpath(uri), os.path.realpath(os.path.dirname(uri)))}
    folders = Path(workspace.artifacts).glob("*/[!.]*/*")
    yield from (each for each in folders if os.path.realpath(each) not in held)
