"""The real DAG, driven as a user drives it: every run is a process, on a small library of real WAV files."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.registry import KINDS

REPOSITORY = Path(__file__).resolve().parents[1]
NODES = (
    "ImportSchemaGen",
    "ImportExampleGen",
    "StatisticsGen",
    "ExampleValidator",
    "DataGate",
    "Transform",
    "HeldOutExampleGen",
    "Champion",
    "DriftDetector",
    "DistributionValidator",
    "RetrainPolicy",
    "Trainer",
    "GateEvaluator",
    "ReferenceProfile",
    "StorePusher",
    "Recorder",
    "Reporter",
)
ALWAYS = ("RetrainPolicy", "Recorder")
"""Never taken from the cache: they keep the account."""
FROM_CHAMPION = ("Champion", "DriftDetector", "DistributionValidator")
FROM_TRAINER = ("Trainer", "GateEvaluator", "ReferenceProfile", "StorePusher", "Reporter")
TYPES = {"HeldOutExampleGen": "ImportExampleGen"}
"""Of nodes that are called otherwise."""
TINY = REPOSITORY / "tests" / "tiny.yaml"
UNTRAINED = {"train.epochs": 1, "train.learning_rate": 1e-12}

Compose = Callable[..., Path]
Genre = Callable[..., Any]


@pytest.fixture(scope="module")
def genre(zygote: Any) -> Genre:
    """Runs the `genre` command of the sources in `cwd`."""

    def run(*arguments: object, cwd: Path = REPOSITORY) -> Any:
        if cwd == REPOSITORY:
            return zygote.run("genre", *arguments)
        # Other sources than those that are imported.
        command = [sys.executable, "-c", "from pipeline.cli import main; main()", *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)

    return run


def options(settings: dict[str, Any]) -> list[str]:
    changes = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return ["--config", str(TINY), *changes]


@pytest.fixture(scope="module")
def data(compose: Compose, tmp_path_factory: pytest.TempPathFactory, genre: Genre) -> Path:
    songs, root = tmp_path_factory.mktemp("songs"), tmp_path_factory.mktemp("data")
    tracks = compose(songs, {"train": 24, "eval": 8, "test": 10})
    done = genre(
        "ingest", "csv", tracks, "--audio-root", songs, "--split-column", "split", "--data", root, *options({})
    )
    assert done.returncode == 0, done.stderr
    return root


@dataclass
class Workspace:
    """A workspace, and what a run in it came to."""

    root: Path
    data: Path
    genre: Genre
    latest: int = 0
    """Version that is served."""

    def run(self, settings: dict[str, Any] | None = None, cwd: Path = REPOSITORY) -> dict[str, Any]:
        summary = self.root / "summary.json"
        done = self.genre(
            "run",
            "--data",
            self.data,
            "--workspace",
            self.root,
            "--summary",
            summary,
            *options({"notify.command": f"(cat; echo) >> {self.root / 'messages'}"} | (settings or {})),
            cwd=cwd,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told = json.loads(summary.read_text())
        self.latest = told["served"]["version"] if told["served"] else 0
        return told

    def metadata(self) -> Any:
        """The workspace's ML Metadata."""
        from ml_metadata.metadata_store.metadata_store import MetadataStore
        from ml_metadata.proto import metadata_store_pb2

        connection = metadata_store_pb2.ConnectionConfig()
        connection.sqlite.filename_uri = str(self.root / "metadata.sqlite")
        return MetadataStore(connection)

    def executions(self) -> Counter[tuple[str, str]]:
        """Executions in ML Metadata by (node, state)."""
        from ml_metadata.proto import metadata_store_pb2

        states = metadata_store_pb2.Execution.State
        return Counter(
            (execution.type.rsplit(".", 1)[-1], states.Name(execution.last_known_state))
            for execution in self.metadata().get_executions()
        )

    def artifacts(self, type_name: str) -> list[Path]:
        """Directories of all artifacts of a type, the oldest first."""
        found = self.metadata().get_artifacts_by_type(type_name)
        return [Path(artifact.uri) for artifact in sorted(found, key=lambda each: each.id)]


def states(summary: dict[str, Any]) -> dict[str, str]:
    return {name: node["state"] for name, node in summary["nodes"].items() if name in NODES}


def expected(ran: tuple[str, ...]) -> dict[str, str]:
    return {name: "done" if name in (*ran, *ALWAYS) else "cached" for name in NODES}


@pytest.fixture(scope="module")
def story(data: Path, tmp_path_factory: pytest.TempPathFactory, genre: Genre) -> dict[str, Any]:
    """Seven runs in one workspace, in order; each test looks at one of them."""
    workspace = Workspace(tmp_path_factory.mktemp("workspace"), data, genre)
    copy = tmp_path_factory.mktemp("source") / "repository"
    shutil.copytree(
        REPOSITORY, copy, ignore=shutil.ignore_patterns(".*", "workspace", "tests", "*.egg-info", "__pycache__")
    )
    told: dict[str, Any] = {"workspace": workspace}

    told["first"] = workspace.run(UNTRAINED)
    told["executions after first"] = workspace.executions()
    told["unchanged"] = workspace.run(UNTRAINED)
    told["executions after unchanged"] = workspace.executions()
    told["better"] = workspace.run()
    told["worse"] = workspace.run(UNTRAINED)
    told["gate"] = workspace.run({"gate.min_macro_f1": 0.01})
    # Words may change freely; then one line of the model's code does.
    source = copy / "models" / "kinds" / "mel_cnn.py"
    source.write_text(
        source.read_text().replace('"""Compact', '"""Small').replace("import keras\n", "import keras  # K\n")
    )
    told["comment"] = workspace.run({"gate.min_macro_f1": 0.01}, cwd=copy)
    source.write_text(source.read_text().replace('Activation("relu")', 'Activation("elu")'))
    told["edit"] = workspace.run({"gate.min_macro_f1": 0.01}, cwd=copy)
    return told


def test_first_run_executes_every_node_and_pushes(story: dict[str, Any]) -> None:
    summary = story["first"]
    assert states(summary) == expected(NODES)
    assert story["executions after first"] == Counter((TYPES.get(name, name), "COMPLETE") for name in NODES)
    assert summary["status"] == "succeeded"
    assert summary["pushed"]["version"] == summary["served"]["version"] == 1
    assert summary["verdict"]["champion"] is None


def test_each_news_is_told_once(story: dict[str, Any]) -> None:
    messages = [json.loads(line) for line in (story["workspace"].root / "messages").read_text().splitlines()]
    assert [(each["event"], each["version"]) for each in messages] == [
        ("pushed", 1),
        ("pushed", 2),
        ("refused", None),
        ("pushed", 3),
    ]
    for name, told in zip(("first", "better", "worse", "edit"), messages, strict=True):
        summary = story[name]
        assert (told["run"], told["accuracy"]) == (summary["run_id"], summary["accuracy"])
        assert told["reasons"] == summary["verdict"]["reasons"]
        assert Path(told["report"].removeprefix("file://")) == Path(summary["report"])


def test_unchanged_run_is_cached_throughout(story: dict[str, Any]) -> None:
    assert states(story["unchanged"]) == expected(())
    # What always runs replaces what the run before it left of it.
    again = Counter((TYPES.get(name, name), "CACHED") for name in NODES if name not in ALWAYS)
    assert story["executions after unchanged"] == story["executions after first"] + again
    assert story["unchanged"]["served"]["version"] == 1
    assert story["unchanged"]["accuracy"] == story["first"]["accuracy"]


def test_better_candidate_replaces_the_champion(story: dict[str, Any]) -> None:
    summary = story["better"]
    assert states(summary) == expected((*FROM_CHAMPION, *FROM_TRAINER))
    assert summary["verdict"]["champion"]["version"] == "1"
    assert summary["accuracy"] > story["first"]["accuracy"]
    assert summary["accuracy"] >= 0.9
    assert summary["blessed"]
    assert summary["served"]["version"] == 2


def test_worse_candidate_is_refused_and_the_champion_stays(story: dict[str, Any]) -> None:
    summary = story["worse"]
    assert states(summary)["Trainer"] == "cached"  # it is the first run's model, judged against a champion now
    assert states(summary)["GateEvaluator"] == "done"
    assert not summary["blessed"]
    assert summary["pushed"] is None
    assert summary["served"]["version"] == 2
    assert "worse than version 2" in " ".join(summary["verdict"]["reasons"])
    assert summary["verdict"]["paired"]["only_champion"] > summary["verdict"]["paired"]["only_candidate"]


def test_a_change_of_the_gate_judges_again_but_trains_nothing(story: dict[str, Any]) -> None:
    summary = story["gate"]
    assert states(summary)["Trainer"] == states(summary)["Champion"] == "cached"
    assert states(summary)["GateEvaluator"] == "done"
    assert summary["blessed"]
    assert summary["served"]["version"] == 2  # the same candidate is not numbered twice


def test_a_comment_runs_nothing(story: dict[str, Any]) -> None:
    assert states(story["comment"]) == expected(())


def test_an_edit_of_the_model_runs_what_depends_on_it(story: dict[str, Any]) -> None:
    assert states(story["edit"]) == expected(FROM_TRAINER)  # version 2 was fetched for the worse candidate


def test_summary_carries_everything(story: dict[str, Any]) -> None:
    summary = story["better"]
    assert summary["dataset"]["splits"]["test"]["genres"] == {"clicks": 10, "noise": 10, "tone": 10}
    assert set(summary["metrics"]["genres"]) == {"clicks", "noise", "tone"}
    low, high = summary["accuracy_interval"]
    assert 0 <= low <= summary["accuracy"] <= high <= 1
    assert np.array(summary["metrics"]["confusion"]).sum() == 30
    for key in ("report", "log"):
        assert Path(summary[key]).is_file()
    assert all(node["seconds"] >= 0 for node in summary["nodes"].values())


def test_report_tells_of_the_run(story: dict[str, Any]) -> None:
    page = Path(story["better"]["report"]).read_text()
    assert page.count("<svg") > 5
    assert "data:image/png;base64," in page
    assert all(name in page for name in ("clicks", "noise", "tone"))


def test_tfma_agrees_with_the_verdict(story: dict[str, Any]) -> None:
    """TensorFlow Model Analysis' own results are an independent reference for our metrics."""
    import tensorflow_model_analysis as tfma

    evaluation = story["workspace"].artifacts("ModelEvaluation")[1]  # of the better candidate
    verdict = json.loads((evaluation / "verdict.json").read_text())
    for model, measured in (("candidate", verdict["candidate"]), ("champion", verdict["champion"]["metrics"])):
        result = tfma.load_eval_result(str(evaluation), model_name=model)
        metrics = result.get_metrics_for_slice()
        assert metrics["example_count"]["doubleValue"] == measured["clips"] == 30
        assert metrics["sparse_categorical_accuracy"]["doubleValue"] == pytest.approx(measured["accuracy"])
        for name, ours in measured["genres"].items():
            by_genre = result.get_metrics_for_slice((("genre", name),))
            assert by_genre["sparse_categorical_accuracy"]["doubleValue"] == pytest.approx(ours["recall"])


def test_what_was_trained_is_what_is_served(story: dict[str, Any], data: Path) -> None:
    """Best weights on Transform's records give the served signature's answers on the raw records, within 1e-5."""
    import tensorflow as tf
    from etils import epath
    from scipy.optimize import linear_sum_assignment

    from components.library.layout import read_library
    from components.store.model_card import read_card
    from models import registry
    from models.config import ModelConfig
    from models.fitting.batches import read_clips
    from models.fitting.calibration import Calibration, calibrated
    from models.serving import clip_probabilities
    from models.windows import window_shape

    served = Path(story["better"]["served"]["path"])
    card = read_card(epath.Path(served))
    assert card.features.genres == read_library(data).genres
    model = ModelConfig(kind=card.kind, window_seconds=card.window_seconds, options={"filters": [8, 16]})
    module, settings = registry.load(model)
    run = story["workspace"].artifacts("ModelRun")[1]
    history = json.loads((run / "history.json").read_text())
    calibration = Calibration(history["temperature"], history["doubt"], on_bound=False)
    network = calibrated(module.build(settings, window_shape(model, card.features), 3), calibration)
    network.load_weights(run / "best.weights.h5")
    artifacts = story["workspace"].root / "artifacts"
    [examples] = artifacts.glob("ImportExampleGen/examples/*/Split-eval")
    [transformed] = artifacts.glob("Transform/transformed_examples/*/Split-eval")
    clips = read_clips([str(path) for path in transformed.iterdir()], card.features, 256).batches(100)
    trained = np.concatenate([clip_probabilities(network, stored, card.features) for stored, _ in clips])
    records = list(tf.data.TFRecordDataset(list(map(str, examples.iterdir()))).as_numpy_iterator())
    answers = (
        tf.saved_model.load(str(served))
        .signatures["serving_default"](examples=tf.constant(records))["probabilities"]
        .numpy()
    )
    assert len(trained) == len(answers) == 24
    distances = np.abs(trained[:, np.newaxis] - answers).max(axis=-1)  # the two are shuffled differently
    assert distances[linear_sum_assignment(distances)].max() < 1e-5


def test_predict_uses_the_pushed_model(
    story: dict[str, Any], data: Path, compose: Compose, tmp_path: Path, genre: Genre
) -> None:
    tracks = compose(tmp_path, {"new": 2})
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"this is no music")
    done = genre("predict", tmp_path, "--workspace", story["workspace"].root, "--json")
    assert done.returncode == 1  # for the broken one; the others are answered all the same
    assert "broken.mp3: cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    answers = {row["path"]: row for row in json.loads(done.stdout)}
    assert len(answers) == 7
    with tracks.open() as file:
        for row in csv.DictReader(file):
            answer = answers[str(tmp_path / row["path"])]
            assert next(iter(answer["genres"])) == row["genre"]
            assert sum(answer["genres"].values()) == pytest.approx(1.0)


def test_second_run_waits_its_turn(data: Path, tmp_path: Path, genre: Genre) -> None:
    import fcntl

    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711")
        file.flush()
        done = genre("run", "--data", data, "--workspace", tmp_path, *options({}))
    assert done.returncode == 1
    assert "4711 is already running in this workspace" in done.stderr


def test_anomalous_data_stop_the_run_in_words(data: Path, tmp_path: Path, genre: Genre) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    schema = copy / "schema.pbtxt"
    text = schema.read_text()
    narrow = re.sub(r'(name: "rms_dbfs".*?max: )\S+', r"\g<1>-99.0", text, count=1, flags=re.DOTALL)
    assert narrow != text
    schema.write_text(narrow)
    workspace = tmp_path / "workspace"
    told = tmp_path / "messages"
    settings = options({"notify.command": f"(cat; echo) >> {told}"})
    done = genre("run", "--data", copy, "--workspace", workspace, *settings)
    assert done.returncode == 1
    assert "rms_dbfs" in done.stderr
    messages = [json.loads(line) for line in told.read_text().splitlines()]
    assert [(each["event"], each["span"]) for each in messages] == [("set aside", 1), ("failed", 1)]
    assert all("rms_dbfs" in each["text"] and each["report"] is None for each in messages)
    assert "validation.on_anomaly=continue" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (workspace / "models").exists()


@pytest.mark.long
def test_models_are_compared_and_what_is_computed_is_kept(data: Path, tmp_path: Path, genre: Genre) -> None:
    def compare(kinds: str) -> tuple[str, dict[str, Any]]:
        settings = options({"train.epochs": 4})
        done = genre("compare", "--data", data, "--workspace", tmp_path, "--models", kinds, *settings)
        assert done.returncode == 0, done.stderr
        return done.stdout, json.loads((tmp_path / "compare" / "comparison.json").read_text())

    out, one = compare("naive_bayes")
    assert "(kept)" not in out
    out, both = compare("naive_bayes,mel_cnn")
    assert re.search(r"naive_bayes .*\(kept\)", out)
    assert not re.search(r"mel_cnn .*\(kept\)", out)
    rows = {row["kind"]: row for row in both["rows"]}
    assert set(rows) == {"naive_bayes", "mel_cnn"}
    assert rows["naive_bayes"]["metrics"] == one["rows"][0]["metrics"]
    assert rows["naive_bayes"]["metrics"]["accuracy"] > 0.8
    assert all(row["metrics"]["clips"] == 30 and row["megabytes"] > 0 < row["milliseconds"] for row in rows.values())
    page = (tmp_path / "compare" / "comparison.html").read_text()
    assert "naive_bayes" in page
    table = (tmp_path / "compare" / "comparison.md").read_text().splitlines()
    assert {line.split("|")[1].strip() for line in table[2:]} == {"naive_bayes", "mel_cnn"}
    assert len({line.count("|") for line in table}) == 1
    with (tmp_path / "compare" / "comparison.csv").open() as file:
        assert {row["model"]: float(row["accuracy"]) for row in csv.DictReader(file)} == {
            kind: row["metrics"]["accuracy"] for kind, row in rows.items()
        }


@pytest.mark.long
def test_a_kind_without_its_weights_is_left_out_in_words(data: Path, tmp_path: Path, genre: Genre) -> None:
    settings = options({"compare.mobilenet.options.weights": "nowhere.h5"})
    done = genre("compare", "--data", data, "--workspace", tmp_path, "--models", "mobilenet,naive_bayes", *settings)
    assert done.returncode == 1
    assert "mobilenet was left out" in done.stderr
    assert "nowhere.h5" in done.stderr
    assert "naive_bayes" in done.stdout


@pytest.mark.long
def test_hyperparameters_are_searched_before_training(data: Path, tmp_path: Path, genre: Genre) -> None:
    workspace = Workspace(tmp_path, data, genre)
    summary = workspace.run({"tune.enabled": True, "tune.trials": 2, "tune.epochs": 2, "train.epochs": 2})
    assert summary["nodes"]["Tuner"]["state"] == "done"
    [best] = workspace.artifacts("HyperParameters")
    found = json.loads((best / "best_hyperparameters.txt").read_text())["values"]
    assert set(found) == {"learning_rate", "label_smoothing", "batch_size", "mixup"}
    [run] = workspace.artifacts("ModelRun")
    history = json.loads((run / "history.json").read_text())
    assert history["epochs"][0]["learning_rate"] <= found["learning_rate"]


SMALL = {
    "mel_cnn": {"filters": [8, 16]},
    "raw_cnn": {"pool_size": 4},
    "mobilenet": {"weights": None},
    "yamnet": {"weights": None},
    "musicnn": {"weights": None},
    "ensemble": {"settings": {"musicnn": {"weights": None}, "yamnet": {"weights": None}}},
}
"""Options that spare time; random weights tell these clips apart, too, but not what a genre is."""


@pytest.fixture(scope="module")
def every_kind(data: Path, tmp_path_factory: pytest.TempPathFactory, genre: Genre) -> Workspace:
    """One workspace for all kinds, one after the other: each meets the one before as its champion."""
    return Workspace(tmp_path_factory.mktemp("kinds"), data, genre)


@pytest.mark.long  # beside the `mel_cnn` of the story
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_runs_through_the_same_dag(
    every_kind: Workspace, kind: str, compose: Compose, tmp_path: Path, genre: Genre
) -> None:
    before = every_kind.latest
    summary = every_kind.run(
        {
            "model.kind": kind,
            "model.options": json.dumps(SMALL.get(kind, {})),
            "train.epochs": 3,
            "gate.significance": 1e-9,  # every one is pushed, better or not: it is about the way, not about the winner
        }
    )
    assert {name: state for name, state in states(summary).items() if name in FROM_TRAINER} == dict.fromkeys(
        FROM_TRAINER, "done"
    )
    assert summary["blessed"]
    assert summary["served"]["version"] == summary["pushed"]["version"] == before + 1
    assert (summary["verdict"]["champion"] is None) == (before == 0)
    page = Path(summary["report"]).read_text()
    assert kind in page
    assert ("fitted in one go" in page) == (KINDS[kind].family != "network")
    assert (summary["model"] is not None) == (KINDS[kind].family == "ensemble")
    if KINDS[kind].family == "classical":
        assert summary["accuracy"] > 0.8
    tracks = compose(tmp_path, {"new": 1})
    done = genre("predict", tracks.parent, "--workspace", every_kind.root, "--json")
    assert done.returncode == 0, done.stderr
    for answer in json.loads(done.stdout):
        assert answer["version"] == before + 1
        assert set(answer["genres"]) == {"tone", "noise", "clicks"}
        assert sum(answer["genres"].values()) == pytest.approx(1.0)


@pytest.mark.long
def test_training_starts_from_the_champion(compose: Compose, tmp_path: Path, genre: Genre) -> None:
    """Two spans: the second model goes on where the first was, is another than a fresh one, and is made once."""
    root = tmp_path / "data"

    def ingest(seed: int) -> None:
        songs = tmp_path / f"songs-{seed}"
        tracks = compose(songs, {"train": 8, "eval": 4, "test": 4}, seed)
        places = ("--audio-root", songs, "--split-column", "split", "--data", root)
        done = genre("ingest", "csv", tracks, *places, *options({}))
        assert done.returncode == 0, done.stderr

    def histories(workspace: Workspace) -> list[dict[str, Any]]:
        found = (workspace.root / "artifacts").glob("Trainer/model_run/*/history.json")
        return [json.loads(path.read_text()) for path in sorted(found, key=lambda path: int(path.parent.name))]

    warm, cold = Workspace(tmp_path / "warm", root, genre), Workspace(tmp_path / "cold", root, genre)
    settings = {"window": 2, "gate.significance": 1e-9, "train.epochs": 2}
    warmly = settings | {"train.warm_start": True}
    ingest(1)
    first = warm.run(warmly)
    ingest(2)
    second, fresh = warm.run(warmly), cold.run(settings)
    again = warm.run(warmly)
    assert (first["served"]["version"], second["served"]["version"], again["served"]["version"]) == (1, 2, 2)
    begun = [history["started_from"] for history in histories(warm)]
    assert begun == ["fresh: there is no champion", "the champion's weights"]
    assert [history["started_from"] for history in histories(cold)] == ["fresh"]
    went_on, went_anew = histories(warm)[1]["epochs"], histories(cold)[0]["epochs"]
    assert went_on[0]["loss"] < 0.9 * went_anew[0]["loss"], "it knew something from the start"
    assert (second["window"], fresh["window"]) == ([1, 2], [1, 2])
    assert [name for name, node in again["nodes"].items() if node["state"] != "cached"] == [
        "TensorFlow, TFX",
        *ALWAYS,
    ]
    known = genre("why", 2, "--workspace", warm.root)
    assert "the champion's weights" in known.stdout, known.stderr


@pytest.mark.long
def test_three_songs_of_a_new_band_are_a_span_like_any_other(compose: Compose, tmp_path: Path, genre: Genre) -> None:
    """No arrival is too small: the span is trained on with the one before it, judged on its clips, and says so."""
    root = tmp_path / "data"

    def ingest(name: str, *columns: str) -> str:
        places = ("--audio-root", tmp_path / name, "--data", root, *columns)
        done = genre("ingest", "csv", tmp_path / name / "tracks.csv", *places, *options({}))
        assert done.returncode == 0, done.stderr
        return done.stdout

    compose(tmp_path / "many", {"train": 24, "eval": 8, "test": 10})
    ingest("many", "--split-column", "split")
    workspace = Workspace(tmp_path / "workspace", root, genre)
    first = workspace.run()
    assert first["drift"]["notes"][0].endswith("there is no champion yet, so there is nothing to compare with")

    compose(tmp_path / "band", {"new": 3}, 99)
    songs = [f"tone/new-{index}.wav,tone,the new band" for index in range(3)]
    (tmp_path / "band" / "tracks.csv").write_text("\n".join(["path,genre,artist", *songs]))
    assert "span 2 has no eval and no test clips" in ingest("band", "--group-column", "artist")
    waited = genre("retrain", "--data", root, "--workspace", workspace.root, *options({}))
    assert waited.returncode == 0, waited.stderr
    assert "groups (artists, recordings); the test needs at least 8 on either side" in waited.stdout
    second = workspace.run()
    assert second["window"] == [1, 2]
    assert "span 2 has no test clips: judged on those of span 1" in second["verdict"]["reasons"]
    assert second["verdict"]["golden_is_test"] and second["metrics"]["clips"] == 30
    assert second["drift"]["p_value"] is None and not second["drift"]["drifted"]
    assert "the newest clips are of 0 groups" in Path(second["report"]).read_text()
    compared = genre("compare", "--models", "knn", "--data", root, "--workspace", workspace.root, *options({}))
    assert compared.returncode == 0, compared.stderr
    comparison = json.loads((workspace.root / "compare" / "comparison.json").read_text())
    assert comparison["clips"] == 30  # the test clips of both spans, of which the second has none
