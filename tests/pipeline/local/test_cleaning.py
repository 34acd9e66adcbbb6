"""What `genre clean` leaves and removes, with ML Metadata as TFX writes it and files that need no run.

tests/continuous/test_cleaning.py does the same after real runs.
"""

import json
import os
import resource
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.base.errors import UserError
from components.base.locks import HeldError
from components.retraining.history import note_decision
from components.retraining.policy import Decision
from pipeline.commands.clean import clean as command
from pipeline.local.cache import (
    RUN,
    Executions,
    drop_changed,
    forget_repeats,
    open_metadata,
    record_files,
    sealed,
)
from pipeline.local.cleaning import clean, clear_cache
from pipeline.planning.prospect import Prospect, prospect
from pipeline.workspace import Workspace

COMPLETE, CACHED = mlmd.Execution.COMPLETE, mlmd.Execution.CACHED


@dataclass
class Kitchen:
    """A workspace whose runs are made by hand."""

    prospect: Prospect

    @property
    def workspace(self) -> Workspace:
        return self.prospect.inputs.workspace

    @property
    def store(self) -> MetadataStore:
        return open_metadata(self.workspace)

    def node(
        self,
        run: str,
        name: str,
        text: str = "",
        inputs: tuple[int, ...] = (),
        cached: int | None = None,
        **properties: str,
    ) -> int:
        """Adds an execution of a node to a run; returns the id of its one output, which has one file."""
        store = self.store
        type_id = store.put_execution_type(mlmd.ExecutionType(name=f"components.nodes.{name}"), can_add_fields=True)
        of_output = store.put_artifact_type(mlmd.ArtifactType(name=f"Out{name}"))
        run_type = store.put_context_type(mlmd.ContextType(name=RUN))
        execution = mlmd.Execution(type_id=type_id, last_known_state=COMPLETE if cached is None else CACHED)
        if text:
            execution.custom_properties["parameters"].string_value = text
        [id_] = store.put_executions([execution])
        uri = Path(self.workspace.artifacts) / name / "out" / str(id_)
        artifact = mlmd.Artifact(type_id=of_output, uri=str(uri), state=mlmd.Artifact.LIVE)
        for key, value in properties.items():
            artifact.custom_properties[key].string_value = value
        if cached is None:
            uri.mkdir(parents=True)
            (uri / "content").write_bytes(b"0123456789")
            [cached] = store.put_artifacts([artifact])
            record_files(store, store.get_artifacts_by_id([cached]))
        event = mlmd.Event
        store.put_events(
            [event(execution_id=id_, artifact_id=each, type=event.INPUT) for each in inputs]
            + [event(execution_id=id_, artifact_id=cached, type=event.OUTPUT)]
        )
        known = [each for each in store.get_contexts_by_type(RUN) if each.name == run]
        context = known[0].id if known else store.put_contexts([mlmd.Context(type_id=run_type, name=run)])[0]
        store.put_attributions_and_associations([], [mlmd.Association(execution_id=id_, context_id=context)])
        return cached

    def uri(self, artifact: int) -> Path:
        [found] = self.store.get_artifacts_by_id([artifact])
        return Path(found.uri)

    def live(self) -> set[int]:
        return Executions(self.store).live

    def clean(self, **how: Any) -> list[str]:
        said: list[str] = []
        clean([self.prospect], said.append, **how)
        return said


@pytest.fixture
def kitchen(place: Any) -> Kitchen:
    kitchen = Kitchen(prospect(place.config(), asked=True))
    kitchen.workspace.local.mkdir()
    return kitchen


def test_what_a_run_takes_from_the_cache_stays_and_the_rest_goes(kitchen: Kitchen) -> None:
    texts = kitchen.prospect.plan.texts()
    examples = kitchen.node("1", "ImportExampleGen", texts["slot_0"])
    statistics = kitchen.node("1", "StatisticsGen", inputs=(examples,))
    other = kitchen.node("1", "ImportExampleGen", '{"of": "a span that left the window"}')
    of_other = kitchen.node("1", "StatisticsGen", inputs=(other,))
    transformed = kitchen.node("1", "Transform", texts["transform"], (examples,))
    refused = kitchen.node("1", "Trainer", '{"of": "other settings"}', (transformed,))
    last = kitchen.node("2", "Champion", '{"of": "the last run"}')
    half = Path(kitchen.workspace.artifacts) / "Trainer" / "out" / "999"
    half.mkdir()
    gone, kept = (other, of_other, refused), (examples, statistics, transformed, last)

    assert kitchen.clean(dry_run=True)[-2:] == ["artifacts: 4, 0.0 MB", "dry run: nothing was removed"]
    assert half.exists() and kitchen.live() == {*gone, *kept}
    gone_places = [kitchen.uri(each) for each in gone]
    assert kitchen.clean()[-1] == "removed"
    assert not any(place.exists() for place in (half, *gone_places))
    assert all(kitchen.uri(each).is_dir() for each in kept)
    assert kitchen.live() == set(kept)
    assert Executions(kitchen.store).cached_for(texts.values()) == {examples, statistics, transformed}
    assert kitchen.clean()[-2] == "artifacts: 0, 0.0 MB"


def test_the_last_run_and_the_last_whole_run_stay(kitchen: Kitchen) -> None:
    made = [
        kitchen.node(run, node, f"{run} {node}") for run in "1234" for node in ("Champion", "Recorder") if run < "4"
    ]
    failed = kitchen.node("4", "Champion", "4")
    kitchen.clean()
    assert kitchen.live() == {*made[-2:], failed}
    assert list(Executions(kitchen.store).by_run) == ["3", "4"]


def test_the_report_of_a_version_in_the_store_stays(kitchen: Kitchen) -> None:
    reports = {}
    for version in ("1", "2", "3"):
        pushed = kitchen.node(version, "StorePusher", version, pushed_version=version)
        reports[version] = kitchen.node(version, "Reporter", version, (pushed,))
    kitchen.node("4", "Champion", "4")
    (Path(kitchen.workspace.models) / "2").mkdir(parents=True)
    kitchen.clean()
    assert kitchen.live() & set(reports.values()) == {reports["2"]}
    assert kitchen.uri(reports["2"]).is_dir()


@pytest.mark.parametrize("killed_at", ["pipeline.local.cleaning.shutil.rmtree", "pipeline.local.cleaning.forget"])
def test_a_call_that_was_killed_is_finished_by_the_next(
    kitchen: Kitchen, killed_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = kitchen.node("1", "Champion", "1")
    kitchen.node("2", "Champion", "2")
    place = kitchen.uri(old)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(killed_at, die)
        kitchen.clean()
    assert old not in kitchen.live()  # whatever became of its files, nothing is served from them
    kitchen.clean()
    assert not place.exists()
    assert len(Executions(kitchen.store).all) == 1


def test_temporary_files_of_killed_writers_go(kitchen: Kitchen) -> None:
    kitchen.node("1", "Champion", "1")
    root = kitchen.workspace.local
    name = "0123456789abcdef" * 2
    dead = [root / f".watch.json.{name}", root / "history" / f".a.json.{name}", root / "compare/kept/x.partial"]
    dead += [
        root / "runs/1/tmp/file",
        root / "models/.incoming-4/file",
        root / "artifacts/A/.system/executor_execution/3/f",
    ]
    for path in dead:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (time.time() - 60,) * 2)
    being_written = root / f".watch.json.{name[::-1]}"
    others = [being_written, root / ".lock", root / "history/a.json", root / "models/1/.hidden"]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / "history/a.json").unlink()
    kitchen.clean()
    assert not any(path.exists() for path in dead)
    assert being_written.exists() and (root / ".lock").exists() and (root / "models/1/.hidden").exists()


def test_checkpoints_stay_only_for_the_present_candidate(kitchen: Kitchen) -> None:
    place = kitchen.workspace.local / "checkpoints"
    for name, age in (("before", 7200), ("own", 60)):
        (place / name).mkdir(parents=True)
        (place / name / "epochs.json").touch()
        for path in (place / name / "epochs.json", place / name):
            os.utime(path, (time.time() - age,) * 2)
    begun = datetime.now(UTC) - timedelta(hours=1)
    retrain = Decision(action="retrain", reasons=("asked for",))
    note_decision(kitchen.workspace.history, "data", kitchen.prospect.facts, None, retrain, begun)
    kitchen.clean()
    assert [path.name for path in place.iterdir()] == ["own"]
    for path in kitchen.workspace.history.iterdir():
        path.unlink()
    kitchen.clean()
    assert list(place.iterdir()) == []


def test_folders_of_old_runs_go_but_those_that_pushed_a_version(kitchen: Kitchen) -> None:
    runs = kitchen.workspace.local / "runs"
    for number in range(15):
        (runs / f"20260101-0000{number:02}").mkdir(parents=True)
    pushes = {0: (1, True), 1: (2, True), 2: (2, False)}
    for number, (version, new) in pushes.items():
        summary = {"newly_pushed": new, "pushed": {"version": version}}
        (runs / f"20260101-0000{number:02}" / "summary.json").write_text(json.dumps(summary))
    (runs / "20260101-000003" / "summary.json").write_text("{half")
    (Path(kitchen.workspace.models) / "2").mkdir(parents=True)
    kitchen.clean()
    assert sorted(int(path.name[-2:]) for path in runs.iterdir()) == [1, *range(5, 15)]


def test_a_run_in_progress_keeps_it_out(place: Any) -> None:
    workspace = prospect(place.config(), asked=True).inputs.workspace
    settings = [f"--set={key}={value}" for key, value in (("data", place.data), ("workspace", place.workspace))]
    with workspace.locked():
        result = CliRunner().invoke(command, settings)
    assert isinstance(result.exception, HeldError)
    assert "is already running in this workspace" in str(result.exception)
    result = CliRunner().invoke(command, settings)
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "removed")


def test_a_repeated_run_leaves_nothing_of_the_one_before(kitchen: Kitchen) -> None:
    made = kitchen.node("0", "Champion", "same")
    sizes = []
    for run in ("1", "2", "3"):
        kitchen.node(run, "Champion", "same", cached=made)
        decided = kitchen.node(run, "RetrainPolicy", run)
        forget_repeats(kitchen.workspace, run)
        with closing(sqlite3.connect(kitchen.workspace.metadata)) as connection:
            tables = [name for (name,) in connection.execute("select name from sqlite_schema where type = 'table'")]
            rows = {name: connection.execute(f"select count(*) from {name}").fetchone()[0] for name in tables}
            assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        sizes.append((rows["Execution"], rows["Event"], rows["Artifact"]))
        assert kitchen.live() == {made, decided}
        assert kitchen.uri(decided).is_dir()
    assert np.diff(sizes, axis=0).tolist() == [[0, 0, 0]] * 2
    assert len(list(Path(kitchen.workspace.artifacts).glob("RetrainPolicy/out/*"))) == 1


def test_a_disk_without_room_to_give_room_back_fails_no_run(kitchen: Kitchen) -> None:
    made = kitchen.node("0", "Champion", "same")
    for run in ("1", "2"):
        kitchen.node(run, "Champion", "same", cached=made)
        decided = kitchen.node(run, "RetrainPolicy", run)
    metadata, before = Path(kitchen.workspace.metadata), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (metadata.stat().st_size, before[1]))
    try:
        forget_repeats(kitchen.workspace, "2")
        with closing(sqlite3.connect(metadata)) as connection, pytest.raises(sqlite3.OperationalError):
            connection.execute("vacuum")  # its journal is larger than the file
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert kitchen.live() == {made, decided}
    with closing(sqlite3.connect(metadata)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]


# --- Damage -------------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


DAMAGES = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "flipped": flip,
    "removed": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_artifact_that_has_changed_is_made_again(kitchen: Kitchen, damage: str) -> None:
    texts = kitchen.prospect.plan.texts().values()
    made = kitchen.node("1", "Transform", kitchen.prospect.plan.texts()["transform"])
    assert drop_changed(kitchen.workspace, texts) == []
    DAMAGES[damage](kitchen.uri(made) / "content")
    assert drop_changed(kitchen.workspace, texts) == [str(kitchen.uri(made))]
    assert kitchen.live() == set()
    assert drop_changed(kitchen.workspace, texts) == []


def test_a_large_artifact_is_not_read_but_must_not_be_written(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.local.cache._LARGEST_READ", 5)
    texts = kitchen.prospect.plan.texts()
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.local.cache.sha256", lambda _: pytest.fail("it was read"))
        file = kitchen.uri(kitchen.node("1", "Transform", texts["transform"])) / "content"
        assert drop_changed(kitchen.workspace, texts.values()) == []
    os.utime(file, (time.time() + 60,) * 2)
    assert drop_changed(kitchen.workspace, texts.values()) == [str(file.parent)]


# What a flip within a row has changed, nobody can know after a kill.
@pytest.mark.parametrize(
    ("damage", "sealed_before"), [(each, how) for each in DAMAGES for how in (True, False) if how or each != "flipped"]
)
def test_damaged_metadata_ends_with_what_to_do(kitchen: Kitchen, damage: str, sealed_before: bool) -> None:
    kitchen.node("1", "Champion", "1")
    with sealed(kitchen.workspace):
        pass
    if not sealed_before:
        (kitchen.workspace.local / "metadata.sha256").unlink()
    DAMAGES[damage](Path(kitchen.workspace.metadata))
    with (
        pytest.raises(UserError, match=r"metadata\.sqlite: .*genre clean --cache --workspace ") as caught,
        sealed(kitchen.workspace),
    ):
        pytest.fail("it began")
    assert "Restore the whole workspace" in str(caught.value)
    with pytest.raises(UserError, match="genre clean --cache"):
        kitchen.clean()
    clear_cache(kitchen.workspace, lambda _: None)
    with sealed(kitchen.workspace):
        assert kitchen.live() == set()
