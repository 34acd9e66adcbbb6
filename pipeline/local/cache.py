"""The cache of a workspace: artifacts of earlier runs, and ML Metadata, which lists them. Needs no TensorFlow.

<workspace>/metadata.sqlite   ML Metadata
<workspace>/metadata.sha256   its SHA-256 when the last run ended; missing while a run goes on, and after a kill

ML Metadata has a digest of the files of every artifact. A node is served from the cache only if its artifacts still
agree with it.
"""

import hashlib
import json
import shlex
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.base.errors import UserError, storage_remedy
from components.base.files import sha256
from pipeline.workspace import Workspace

RUN = "pipeline_run"
"""Type of TFX's context that holds the executions of a run; its name is the run's id."""
NEVER_CACHED = ("RetrainPolicy", "Recorder")
"""Nodes that run every time: no later run uses what they made."""
_FILES = "files"
"""Property of an artifact: see the module."""
_LARGEST_READ = 1 << 26
"""Bytes up to which an artifact's digest is of the contents of its files. Beyond that it is of the times at which they
were written: reading them would take longer than a run in which all is cached."""
_PARAMETERS = ("parameters", "custom_config")
"""Properties of an execution in which the nodes keep the texts of `pipeline.planning.plan.Plan.texts`."""


# --- ML Metadata --------------------------------------------------------------------------------------------------


@contextmanager
def sealed(workspace: Workspace) -> Iterator[None]:
    """Checks that ML Metadata is as the last run left it, and notes at the end of the block what it is like then.

    The caller must hold the lock of the workspace.

    Raises:
      UserError: it is damaged, or it is gone and its artifacts are not.
    """
    seal = _seal(workspace)
    _check(workspace)
    seal.unlink(missing_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # a full disk, or no ML Metadata yet; without a seal only its structure is checked
            seal.write_text(sha256(Path(workspace.metadata)))


def _seal(workspace: Workspace) -> Path:
    return workspace.local / "metadata.sha256"


def _check(workspace: Workspace) -> None:
    file, artifacts = Path(workspace.metadata), Path(workspace.artifacts)
    wrong = _damage(file, _seal(workspace)) if file.exists() else "missing"
    lost = wrong in ("missing", "empty") and not (
        artifacts.exists() and any(artifacts.iterdir())
    )  # and nothing with it
    if wrong and not lost:
        raise UserError(
            f"{file}: {wrong}. It lists what {artifacts} holds. Restore the whole workspace from a copy. Or give up "
            f"what is there with `genre clean --cache --workspace {shlex.quote(str(workspace.root))}`: models and "
            "history stay, and the next run computes everything else again."
        )


def _damage(file: Path, seal: Path) -> str:
    """Describes what is wrong with a file of sqlite; empty if nothing is."""
    try:
        if (known := seal.read_text() if seal.exists() else "") and known != sha256(file):
            return "damaged: its content has changed since the last run"
        with closing(sqlite3.connect(file)) as connection:
            [found] = connection.execute("pragma integrity_check(1)").fetchone()
            [tables] = connection.execute("select count(*) from sqlite_schema").fetchone()
    except sqlite3.Error as error:
        if remedy := storage_remedy(error):
            raise UserError(f"{file}: {error}. {remedy}") from error
        return f"damaged: {error}"
    if found != "ok":
        return f"damaged: {found.strip()}"
    return "" if tables else "empty"


def open_metadata(workspace: Workspace) -> MetadataStore:
    """Opens ML Metadata."""
    source = metadata_store_pb2.SqliteMetadataSourceConfig(
        filename_uri=str(workspace.metadata),
        connection_mode=metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE,
    )
    return MetadataStore(metadata_store_pb2.ConnectionConfig(sqlite=source))


class Executions:
    """The executions of ML Metadata that ended well, ascending, with their artifacts."""

    def __init__(self, store: MetadataStore) -> None:
        """Reads ML Metadata."""
        self.all = sorted(store.get_executions(), key=lambda each: each.id)
        self.complete = [each for each in self.all if each.last_known_state == metadata_store_pb2.Execution.COMPLETE]
        self.artifacts = {artifact.id: artifact for artifact in store.get_artifacts()}
        self.inputs: dict[int, set[int]] = defaultdict(set)
        self.outputs: dict[int, set[int]] = defaultdict(set)
        """Ids of artifacts by id of the execution."""
        for event in store.get_events_by_execution_ids([each.id for each in self.all]) if self.all else ():
            events = self.outputs if event.type == metadata_store_pb2.Event.OUTPUT else self.inputs
            events[event.execution_id].add(event.artifact_id)
        self.by_run: dict[str, set[int]] = {
            run.name: {each.id for each in store.get_executions_by_context(run.id)}
            for run in sorted(store.get_contexts_by_type(RUN), key=lambda run: run.id)
        }
        """Ids of the executions of each run, the oldest run first."""

    @property
    def live(self) -> set[int]:
        """Ids of the artifacts that the cache may serve."""
        live = metadata_store_pb2.Artifact.LIVE
        return {artifact.id for artifact in self.artifacts.values() if artifact.state == live}

    def of(self, node: str) -> list[metadata_store_pb2.Execution]:
        """Returns the complete executions of a kind of node."""
        return [each for each in self.complete if each.type.rpartition(".")[2] == node]

    def cached_for(self, texts: Collection[str]) -> set[int]:
        """Returns the ids of the artifacts that a run takes from the cache.

        TFX's cache serves an execution whose parameters and inputs are the same, if all of its outputs are live.

        Args:
          texts: the parameters of all nodes of the run.
        """
        live, known, found = self.live, set(texts), set[int]()
        for each in self.complete:
            given = {
                each.custom_properties[name].string_value for name in _PARAMETERS if name in each.custom_properties
            }
            if given <= known and self.inputs[each.id] <= found and self.outputs[each.id] <= live:
                found |= self.outputs[each.id]
        return found


def mark_deleted(store: MetadataStore, artifacts: Iterable[metadata_store_pb2.Artifact]) -> None:
    """Keeps TFX's cache from serving artifacts."""
    marked = list(artifacts)
    for artifact in marked:
        artifact.state = metadata_store_pb2.Artifact.DELETED
    if marked:
        store.put_artifacts(marked)


def forget(workspace: Workspace, executions: Collection[int]) -> None:
    """Removes executions from ML Metadata, with the deleted artifacts, runs and cache keys that nothing names then.

    In SQL, because its API cannot remove anything. An id is never given out again.
    """
    deleted = metadata_store_pb2.Artifact.DELETED
    passing = f"select id from Type where name in ('{RUN}', 'execution_cache')"
    gone = (
        "Event where execution_id not in (select id from Execution)",
        "EventPath where event_id not in (select id from Event)",
        "ExecutionProperty where execution_id not in (select id from Execution)",
        "Association where execution_id not in (select id from Execution)",
        f"Artifact where state = {deleted} and id not in (select artifact_id from Event)",
        "ArtifactProperty where artifact_id not in (select id from Artifact)",
        f"Context where type_id in ({passing}) and id not in (select context_id from Association)",
        "ContextProperty where context_id not in (select id from Context)",
        "ParentContext where context_id not in (select id from Context)",
        "Attribution where artifact_id not in (select id from Artifact) or context_id not in (select id from Context)",
    )
    with closing(sqlite3.connect(workspace.metadata)) as connection:
        with connection:
            connection.executemany("delete from Execution where id = ?", [(each,) for each in executions])
            for rows in gone:
                connection.execute(f"delete from {rows}")
        # Else the file keeps the room, in pages that the next rows fill but in part. It takes room itself, and a reader
        # keeps it out: then the next call does it.
        with suppress(sqlite3.OperationalError):
            connection.execute("vacuum")


def forget_repeats(workspace: Workspace, run_id: str) -> None:
    """Removes what earlier runs left that no later run uses: a run in which all is cached must not fill the disk.

    Args:
      run_id: the run that just ended; what it left stays.
    """
    store = open_metadata(workspace)
    known = Executions(store)
    own = known.by_run.get(run_id, set())
    repeated = {each.id for each in known.all if each.last_known_state == metadata_store_pb2.Execution.CACHED} - own
    ran = [{each.id for each in known.of(node)} for node in NEVER_CACHED]
    # Where this run has no execution of a node, the last one stays: it may be of the last run that came to its end.
    unused = {id_ for ids in ran if ids & own for id_ in ids - own}
    mark_deleted(store, (known.artifacts[id_] for each in unused for id_ in known.outputs[each]))
    for each in unused:
        for place in (f"*/*/{each}", f"*/.system/*/{each}"):
            for left in Path(workspace.artifacts).glob(place):
                shutil.rmtree(left)
    forget(workspace, repeated | unused)


# --- The files of artifacts ---------------------------------------------------------------------------------------


def record_files(store: MetadataStore, artifacts: Iterable[metadata_store_pb2.Artifact]) -> None:
    """Notes what the files of artifacts are like, where that is not noted yet.

    It changes the cache keys of the nodes that use them as inputs, so none of these may have run.
    """
    new = [artifact for artifact in artifacts if _FILES not in artifact.custom_properties]
    for artifact in new:
        artifact.custom_properties[_FILES].CopyFrom(metadata_store_pb2.Value(string_value=_digest(artifact)))
    if new:
        store.put_artifacts(new)


def drop_changed(workspace: Workspace, texts: Collection[str]) -> list[str]:
    """Keeps the cache from serving a run artifacts whose files have changed since they were made.

    Args:
      texts: the parameters of all nodes of the run.

    Returns:
      Paths of the artifacts that it will make again.
    """
    if not workspace.metadata.exists():
        return []
    store = open_metadata(workspace)
    known = Executions(store)
    cached = [known.artifacts[id_] for id_ in sorted(known.cached_for(texts))]
    changed = [artifact for artifact in cached if _has_changed(artifact)]
    mark_deleted(store, changed)
    return [artifact.uri for artifact in changed]


def _has_changed(artifact: metadata_store_pb2.Artifact) -> bool:
    """Compares the files of an artifact; those of an earlier release have no digest to compare with."""
    properties = artifact.custom_properties
    return _FILES in properties and properties[_FILES].string_value != _digest(artifact)


def _digest(artifact: metadata_store_pb2.Artifact) -> str:
    """Computes a digest of the names, sizes, and contents or times of an artifact's files."""
    root = Path(artifact.uri)
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    stats = [path.stat() for path in files]
    large = sum(stat.st_size for stat in stats) > _LARGEST_READ
    listed = [
        (str(path.relative_to(root)), stat.st_size, stat.st_mtime_ns if large else sha256(path))
        for path, stat in zip(files, stats, strict=True)
    ]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
