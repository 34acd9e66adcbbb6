"""`kill -9` at every boundary between nodes, within the push, and at random moments: the work is done once.

Every kill is that of a whole process, and the next process starts from what it left on the disk. What a kill must not
harm is looked at after each.
"""

import json
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from etils import epath
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.retraining.history import read_history
from components.store.model_store import current_version, read_lineage, version_dir, versions
from pipeline.watching.status import read_status
from pipeline.workspace import Workspace

ARTISTS = dict.fromkeys(("Folk", "Pop", "Rock"), 4)
SETTINGS = {
    "window": 2,
    "model": {"kind": "naive_bayes", "window_seconds": 3.0},
    "retrain": {"min_new_clips": 1},
    "gate": {"min_accuracy": 0.01},
}
BEFORE_POLICY = (
    "Champion",
    "HeldOutExampleGen",
    "ImportExampleGen-1",
    "ImportSchemaGen",
    "DriftDetector",
    "StatisticsGen-1",
    "DistributionValidator",
    "ExampleValidator-1",
    "DataGate-1",
)
BEFORE_PUSH = ("RetrainPolicy", "Transform-1", "Trainer", "GateEvaluator", "ReferenceProfile")
WITHIN_PUSH = ("nodes.pusher.smoke_test", "store.model_store._write_pointer", "nodes.pusher.prune")
"""The version is not there yet; it is, but not served; it is served, but nobody has noted so."""
DEATHS = (
    *(("die_after", node) for node in BEFORE_POLICY),
    ("die_before", "components.retraining.history.write_record"),
    *(("die_after", node) for node in BEFORE_PUSH),
    *(("die_before", f"components.{function}") for function in WITHIN_PUSH),
    ("die_after", "StorePusher"),
    ("die_after", "Reporter"),
    ("die_before", "components.nodes.recorder.note_outcome"),
    ("die_after", "Recorder"),
)
WHOLE = (
    "saved_model.pb",
    "variables/variables.index",
    *(f"assets.extra/{name}" for name in ("lineage.json", "verdict.json", "reference.npz")),
)


WATCH = ("watch", "--once", "--set", "retrain.clean=false")
"""A watcher that cleans forgets the executions of earlier spans, of which these tests ask."""


def store_of(loop: Any) -> epath.Path:
    return epath.Path(loop.workspace / "models")


def check_readable(loop: Any) -> None:
    """That all a killed run may have been writing can be read, and that what is served is whole."""
    store = store_of(loop)
    served = current_version(store)
    if served is not None:
        assert all((version_dir(store, served) / name).is_file() for name in WHOLE)
    numbered = Counter(read_lineage(store, version).candidate for version in versions(store))
    assert set(numbered.values()) <= {1}
    read_history(epath.Path(loop.workspace / "history"))
    metadata = loop.workspace / "metadata.sqlite"
    if metadata.exists():
        with closing(sqlite3.connect(metadata)) as connection:
            assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]


def completed(loop: Any) -> int:
    """Nodes that have run to their end, ever, and need not again."""
    if not (loop.workspace / "metadata.sqlite").exists():
        return 0
    with closing(sqlite3.connect(loop.workspace / "metadata.sqlite")) as connection:
        query = (
            "select count(*) from Execution join Type on Type.id = type_id "
            f"where last_known_state = {metadata_store_pb2.Execution.COMPLETE} and Type.name not like '%RetrainPolicy'"
        )
        tables = connection.execute("select count(*) from sqlite_master where name = 'Execution'").fetchone()[0]
        return connection.execute(query).fetchone()[0] if tables else 0


def check_agreement(loop: Any, spans: int) -> None:
    """That the work for each span was done once, and that ML Metadata, pointer, store and history say the same."""
    store = store_of(loop)
    assert versions(store) == list(range(1, spans + 1))
    assert current_version(store) == spans
    candidates = [read_lineage(store, version).candidate for version in versions(store)]
    records = read_history(epath.Path(loop.workspace / "history"))
    assert [record.candidate for record in records] == candidates
    for version, record in enumerate(records, start=1):
        assert [outcome.version for outcome in record.outcomes] == [version]
        assert (len(record.started), record.begun, record.failures) == (1, "", ())

    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(loop.workspace / "metadata.sqlite")
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    metadata = MetadataStore(config)
    state = metadata_store_pb2.Execution
    executions = sorted(metadata.get_executions(), key=lambda execution: execution.id)
    states = Counter((each.type.rpartition(".")[2], state.State.Name(each.last_known_state)) for each in executions)
    for node in ("Trainer", "GateEvaluator", "ReferenceProfile", "StorePusher", "Reporter"):
        assert states[node, "COMPLETE"] == spans, node
    # What a kill leaves goes with the next run: only the last kill, which came after all was done, has left anything.
    last = executions.pop()
    ended = (state.COMPLETE, state.CACHED, state.FAILED)
    assert all(each.last_known_state in ended for each in executions)
    pushed = [each.custom_properties for each in metadata.get_artifacts_by_type("PushedModel")]
    assert [each["pushed_version"].string_value for each in pushed] == [str(version) for version in versions(store)]

    known = {artifact.uri for artifact in metadata.get_artifacts()}
    for directory in (loop.workspace / "artifacts").glob("[!.]*/[!.]*/*"):
        assert directory.name == str(last.id) or known & {str(directory), str(directory / "value")}, directory
    assert {path.parent.name for path in loop.workspace.glob("artifacts/*/.system/*/*/*")} <= {str(last.id)}
    assert len(list(loop.workspace.glob("runs/*/tmp"))) <= 1
    assert {path.name for path in loop.workspace.glob("models/.*")} == {".lock", ".push.lock"}


@pytest.fixture(scope="module")
def loop(new_loop: Callable[..., Any]) -> Any:
    return new_loop(**SETTINGS)


@pytest.mark.long
def test_killed_between_nodes_and_within_the_push(loop: Any) -> None:
    loop.deliver(1, artists=ARTISTS)
    for how, where in DEATHS:
        code, said = loop.retrain(**{how: [where]})
        assert code == -9, f"{how} {where}: {said}"
        check_readable(loop)
        assert loop.served() is None or loop.answers()
    code, said = loop.retrain()
    assert (code, said) == (0, "wait: this data with these settings was judged before: pushed as version 1\n")
    check_agreement(loop, 1)
    with closing(sqlite3.connect(loop.workspace / "metadata.sqlite")) as connection:
        found = connection.execute("select name from Context where name like 'genre.%'").fetchall()
    assert {f"genre.{where}" for how, where in DEATHS if how == "die_after"} == {name for (name,) in found}


@pytest.mark.long
@pytest.mark.parametrize(("command", "kills"), [(("retrain",), 25), (WATCH, 10)])
def test_killed_at_random_moments(loop: Any, command: tuple[str, ...], kills: int) -> None:
    draw = random.Random(6)
    spans, killed, longest, done = len(loop.history()), 0, 0.0, 0
    while killed < kills:
        if done == 0:  # the run for the newest span has come to its end
            spans, longest = spans + 1, 2.0
            loop.deliver(spans, artists=ARTISTS)
        code, said = loop.genre(*command, "--config", loop.config, kill_after=draw.uniform(0.1, longest))
        assert code in (0, -9), said
        killed += code == -9
        check_readable(loop)
        read_status(Workspace(epath.Path(loop.workspace)))
        if killed % 5 == 0:  # that costs as much as a run
            assert loop.served() is None or loop.answers()
        before, done = done, max(1, completed(loop)) if code else 0  # 1: killed before its first node
        longest *= 1.3 if done == before else 1.0  # too short for the node whose turn it is, on this machine
    code, said = loop.genre(*command, "--config", loop.config)
    assert code == 0, said
    check_agreement(loop, spans)
    assert loop.answers()


@pytest.mark.long
def test_a_comparison_killed_ten_times_ends_as_one_that_was_not(loop: Any) -> None:
    def compare(place: str, **fate: Any) -> tuple[int, str, list[dict[str, Any]]]:
        output = loop.root / place
        kinds = ("--models", "naive_bayes,logistic_regression,knn")
        code, said = loop.genre("compare", "--config", loop.config, *kinds, "--output", output, **fate)
        file = output / "comparison.json"
        return code, said, json.loads(file.read_text())["rows"] if file.exists() else []

    draw, killed, longest = random.Random(7), 0, 2.0
    while killed < 10:
        code, said, rows = compare("killed", kill_after=draw.uniform(0.1, longest))
        assert code in (0, -9), said
        if code:
            killed, longest = killed + 1, 1.2 * longest
        else:
            assert len(rows) == 3
            shutil.rmtree(loop.workspace / "compare" / "kept")
    code, said, rows = compare("killed")
    assert code == 0, said
    assert "Traceback" not in said
    kept = loop.workspace / "compare" / "kept"
    whole_files = [path for path in kept.iterdir() if not path.name.startswith(".")]  # hidden ones are for genre clean
    assert not [path for path in whole_files if path.is_dir() or path.suffix not in (".json", ".npy")]
    shutil.rmtree(kept)
    code, said, whole = compare("whole")
    assert code == 0, said
    assert [(row["kind"], row["metrics"]) for row in rows] == [(row["kind"], row["metrics"]) for row in whole]
    assert loop.answers()
