"""A user's mistakes: each ends in words that say what to do and exit code 1, without a traceback or TensorFlow."""

import shutil
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

RUN = """
import sys
from pipeline.cli import main
try:
    main()
finally:
    print("TF" if "tensorflow" in sys.modules else "")
"""


def genre(*arguments: object, cwd: Path) -> tuple[int, str]:
    """Exit code and error output of a `genre` command; TensorFlow must not have been loaded."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "TF" not in done.stdout
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def song(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).integers(-9000, 9000, 3 * 8000, dtype="<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Songs of two genres, in every split; their list; and the library made of them."""
    root = tmp_path_factory.mktemp("ingested")
    lines = ["path,genre,split"]
    for seed, (name, split) in enumerate((n, s) for n in ("rock", "folk") for s in ("train", "eval", "test")):
        song(root / "songs" / name / f"{split}.wav", seed)
        lines.append(f"{name}/{split}.wav,{name},{split}")
    (root / "songs.csv").write_text("\n".join(lines))
    arguments = ("songs.csv", "--audio-root", "songs", "--split-column", "split", "--data", "data")
    code, errors = genre("ingest", "csv", *arguments, cwd=root)
    assert code == 0, errors
    return root


@pytest.fixture
def library(ingested: Path, tmp_path: Path) -> Path:
    """A library of one's own, to do wrong with."""
    shutil.copytree(ingested, tmp_path, dirs_exist_ok=True)
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("trian: {epochs: 3}", "trian: unknown key"),
        ("train: {epoch: 3}", "train.epoch: unknown key"),
        ("train: {epochs: many}", 'train.epochs: Input should be a valid integer (found "many")'),
        ("train: {epochs: 0}", "train.epochs: Input should be greater than or equal to 1"),
        ("train: [", "not readable as YAML"),
        ("gate: {genre_recall: {rock: 2.0}}", "gate.genre_recall.rock: Input should be less than or equal to 1"),
    ],
)
def test_configuration(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "my.yaml").write_text(text)
    code, errors = genre("run", "--config", "my.yaml", cwd=tmp_path)
    assert code == 1
    assert told in errors
    assert "my.yaml" in errors


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--config", "none.yaml"), "none.yaml: no such configuration file"),
        (("--set", "train.epochs"), "expected --set section.key=value"),
        (("--data", "nowhere"), "nowhere: no such data directory. Make it with `genre ingest folder DIR --data"),
        (("--data", "my data #1"), "Make it with `genre ingest folder DIR --data '{cwd}/my data #1'`"),
        (("--data", "."), "not an ingested library"),
    ],
)
def test_run_without_data(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    code, errors = genre("run", *arguments, cwd=tmp_path)
    assert code == 1
    assert told.replace("{cwd}", str(tmp_path)) in errors


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("audio.sample_rate=16000", "audio.sample_rate is 16000, but"),
        ("span=7", "no complete span 7 (complete spans: 1)"),
        ("model={kind: yamnet, options: {weights: none.tflite}}", "none.tflite. Run `genre weights yamnet`, or"),
        (
            "model.kind=transformer",
            "model.kind: no model is called 'transformer'; there are auto, ensemble, extra_trees, ",
        ),
        ("model.options={layers: 3}", "model.options.layers"),
        ("gate.genre_recall={jazz: 0.5}", "gate.genre_recall.jazz"),
    ],
)
def test_settings_that_do_not_fit_the_data(library: Path, setting: str, told: str) -> None:
    code, errors = genre("run", "--data", library, "--workspace", library.parent / "w", "--set", setting, cwd=library)
    assert code == 1
    assert told in errors


REMOTE = "data: gs://b/data\nworkspace: gs://b\n"


@pytest.mark.parametrize(
    ("target", "text", "told"),
    [
        ("kubeflow", "", "no section `kubeflow`: see configs/kubeflow.yaml for an example"),
        ("vertex", REMOTE + "kubeflow: {image: r/genre:1}", "no section `vertex`: it is for --target kubeflow"),
        ("kubeflow", REMOTE + "kubeflow: {}", "kubeflow.image: missing"),
        ("kubeflow", "kubeflow: {image: r/genre:1}", "data: workspace/data is not where the steps can see it"),
        ("vertex", "vertex: {image: r/genre:1, project: p, region: r}", "data: workspace/data is not in a bucket"),
        ("kubeflow", REMOTE + "kubeflow: {image: r/genre:1}\nmodel: {kind: resnet}", "no model is called 'resnet'"),
        ("kubeflow", REMOTE + "kubeflow: {images: r/genre:1}", "kubeflow.images: unknown key"),
    ],
)
def test_compiling_what_cannot_run_there(tmp_path: Path, target: str, text: str, told: str) -> None:
    (tmp_path / "my.yaml").write_text(text)
    code, errors = genre("compile", "--target", target, "--config", "my.yaml", "-o", "out", cwd=tmp_path)
    assert code == 1
    assert told in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("submit", "--target", "vertex", "--config", "my.yaml"), "section `vertex`: it is for --target kubeflow"),
        (("submit", "--target", "kubeflow", "--package", "my.yaml"), "my.yaml: this is no compiled pipeline"),
        (("submit", "--target", "kubeflow", "--package", "none.yaml"), "none.yaml: no such package"),
        (("submit", "--target", "kubeflow", "--config", "my.yaml", "--data", "songs"), "data: songs is not where"),
        (("submit", "--target", "kubeflow", "--config", "my.yaml", "--run-set", "train.epochs=0"), "train.epochs"),
        (
            ("schedule", "create", "n", "--cron", "0 25 * * *", "--target", "kubeflow", "--config", "my.yaml"),
            "hour '25' is not valid. It takes 0 to 23",
        ),
        (
            ("schedule", "create", "n", "--cron", "0 4 * * *", "--timezone", "Mars", "--target", "kubeflow"),
            "Mars: no such time zone",
        ),
        (("status", "--target", "vertex", "--config", "my.yaml"), "section `vertex`: it is for --target kubeflow"),
    ],
)
def test_starting_what_cannot_run_there(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    (tmp_path / "my.yaml").write_text(REMOTE + "kubeflow: {image: r/genre:1}")
    code, errors = genre(*arguments, cwd=tmp_path)
    assert code == 1
    assert told in errors


def test_running_here_with_a_workspace_in_a_bucket(library: Path) -> None:
    code, errors = genre("run", "--data", library, "--set", "workspace=gs://bucket/genre", cwd=library)
    assert code == 1
    assert "gs://bucket/genre: a run on this machine needs a workspace on this machine" in errors


def test_workspace_that_is_a_file(library: Path) -> None:
    code, errors = genre("run", "--data", library, "--workspace", library / "library.json", cwd=library)
    assert code != 0
    assert "library.json" in errors


def test_data_without_their_schema(library: Path) -> None:
    (library / "schema.pbtxt").unlink()
    code, errors = genre("run", "--data", library, cwd=library)
    assert code == 1
    assert "schema.pbtxt: missing" in errors


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("library.json", lambda text: text[:-20], "Invalid JSON"),
        ("library.json", lambda text: text.replace('"genres"', '"names"'), "genres: missing; names: unknown key"),
        (
            "library.json",
            lambda text: text.replace("22050", '"fast"'),
            "audio.sample_rate: Input should",
        ),
        ("span-1/manifest.json", lambda text: text.replace('"span": 1', '"span": null'), "span: Input should be"),
    ],
)
def test_damaged_library(library: Path, name: str, change: Callable[[str], str], told: str) -> None:
    text = (library / name).read_text()
    assert change(text) != text
    (library / name).write_text(change(text))
    code, errors = genre("run", "--data", library, cwd=library)
    assert code == 1
    assert f"{library / name}: damaged: {told}" in errors
    assert "ingest the library again" in errors
    assert "pydantic" not in errors


def test_data_whose_last_ingest_was_not_finished(library: Path) -> None:
    (library / "span-1" / "manifest.json").unlink()
    code, errors = genre("run", "--data", library, cwd=library)
    assert code == 1
    assert "no complete span" in errors


@pytest.mark.parametrize("command", ["run", "retrain", "watch", "compare"])
def test_several_hosts_to_train_on(library: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}')
    code, errors = genre(command, "--data", library, "--workspace", library.parent / "w", cwd=library)
    assert code == 1
    assert "TF_CONFIG names 2 workers, but Keras 3 cannot fit a model on several hosts" in errors
    assert not (library.parent / "w").exists()


def test_empty_library(tmp_path: Path) -> None:
    (tmp_path / "songs").mkdir()
    code, errors = genre("ingest", "folder", "songs", "--data", "data", cwd=tmp_path)
    assert code == 1
    assert "songs" in errors
    assert not (tmp_path / "data" / "library.json").exists()


def test_library_of_one_genre(tmp_path: Path) -> None:
    for seed in range(12):
        song(tmp_path / "songs" / "rock" / f"{seed}.wav", seed)
    code, errors = genre("ingest", "folder", "songs", "--data", "data", cwd=tmp_path)
    assert code == 1
    assert "rock" in errors
    assert "genre" in errors


def test_split_without_examples(tmp_path: Path) -> None:
    for seed in range(4):
        song(tmp_path / "songs" / ("rock", "folk")[seed % 2] / "band" / f"{seed}.wav", seed)
    code, errors = genre("ingest", "folder", "songs", "--data", "data", cwd=tmp_path)
    assert code == 1
    assert "split" in errors


def test_predict_without_a_model(tmp_path: Path) -> None:
    song(tmp_path / "song.wav", 1)
    code, errors = genre("predict", "song.wav", cwd=tmp_path)
    assert code == 1
    assert "no model has been pushed yet" in errors


def test_predict_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, told in (("none.mp3", "none.mp3: missing file"), ("empty", "empty: no audio files in it")):
        code, errors = genre("predict", path, cwd=tmp_path)
        assert code == 1
        assert told in errors


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("retrain", "--config", "none.yaml"), "none.yaml: no such configuration file"),
        (("retrain", "--set", "retrain.min_new_clip=3"), "retrain.min_new_clip: unknown key"),
        (("retrain", "--set", "retrain.when=always"), "retrain.when: Input should be 'policy', 'never' or 'now'"),
        (("retrain", "--set", "drift.false_alarm_rate=0.001"), "greater than or equal to 0.008"),
        (("retrain", "--set", "train.warm_start=perhaps"), "train.warm_start: Input should be a valid boolean"),
        (("retrain", "--set", "model.kind=transformer"), "no model is called 'transformer'"),
        (("retrain", "--data", "nowhere"), "nowhere: no such data directory"),
        (("retrain", "--dry-run", "--data", "."), "not an ingested library"),
        (("spans", "--data", "nowhere"), "nowhere: no such data directory"),
        (("spans", "--set", "window=0"), "window: Input should be greater than or equal to 1"),
        (("spans", "--restore", "3"), "span 3 is not set aside (spans that are: none)"),
    ],
)
def test_retraining_without_data(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    code, errors = genre(*arguments, cwd=tmp_path)
    assert code == 1
    assert told in errors
    assert not (tmp_path / "workspace").exists()


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("span=7", "no complete span 7 (complete spans: 1)"),
        ("exclude=[1]", "every complete span is excluded or set aside: 1."),
        ("golden=2", "no complete span 2 (complete spans: 1)"),
        ("workspace=gs://bucket/genre", "a run on this machine needs a workspace on this machine"),
        ("audio.sample_rate=16000", "audio.sample_rate is 16000, but"),
    ],
)
def test_retraining_with_settings_that_do_not_fit(library: Path, setting: str, told: str) -> None:
    places = ("--data", library, "--set", f"workspace={library.parent / 'w'}")
    for how in ((), ("--now",)):
        code, errors = genre("retrain", *how, *places, "--set", setting, cwd=library)
        assert code == 1
        assert told in errors


@pytest.mark.parametrize("name", ["history/1234.json", "set-aside/1.json", "models/current.json"])
def test_retraining_with_a_damaged_account(library: Path, name: str) -> None:
    damaged = library.parent / "w" / name
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    code, errors = genre("retrain", "--data", library, "--workspace", library.parent / "w", cwd=library)
    assert code == 1
    assert str(damaged) in errors
    assert "pydantic" not in errors


def test_a_wait_needs_no_tensorflow(library: Path) -> None:
    places = ("--data", library, "--workspace", library.parent / "w")
    code, errors = genre("retrain", *places, "--set", "retrain.when=never", cwd=library)
    assert (code, errors) == (0, "")


@pytest.mark.parametrize("command", ["retrain", "spans", "watch", "history", "why", "rollback"])
def test_help_of_a_command_needs_no_tensorflow(tmp_path: Path, command: str) -> None:
    assert genre(command, "--help", cwd=tmp_path) == (0, "")


def test_help_names_every_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert all(
        name in done.stdout
        for name in (
            *("compile", "config", "demo-library", "doctor", "ingest", "predict", "run"),
            *("schedule", "status", "submit", "retrain", "watch", "spans", "history", "why", "models", "rollback"),
        )
    )
