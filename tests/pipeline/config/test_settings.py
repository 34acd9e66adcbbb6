"""The configuration: strict, frozen, and every complaint names the dotted key and where it was read."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from pydantic import ValidationError

from components.audio.config import AudioConfig, MelConfig
from components.base.errors import UserError
from components.evaluation.config import GateConfig
from components.library.config import SplitConfig
from pipeline.cli import cli
from pipeline.config.settings import PipelineConfig, find_project_file, load_config


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def to_file(text: str | bytes) -> Path:
        path = tmp_path / "my.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return to_file


# --- What is read ------------------------------------------------------------------------------------------------


def test_defaults_need_nothing() -> None:
    assert load_config() == PipelineConfig()


def test_a_file_overlays_the_defaults(write: Callable) -> None:
    config = load_config(write("mel:\n  n_mels: 64\n  fmax: 8000\nmodel:\n  kind: raw_cnn\n"))
    assert config.mel == MelConfig(n_mels=64, fmax=8000.0)
    assert isinstance(config.mel.fmax, float)  # though YAML has an int
    assert config.model.kind == "raw_cnn"
    assert config.audio == AudioConfig()
    assert config.train == PipelineConfig().train


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "---\n"])
def test_an_empty_file_is_all_defaults(text: str, write: Callable) -> None:
    assert load_config(write(text)) == PipelineConfig()


def test_set_overlays_the_file(write: Callable) -> None:
    file = write("mel:\n  n_mels: 64\n  n_fft: 1024\ntrain:\n  augment: strong\n  mixup: 0.4\n")
    config = load_config(
        file,
        [
            "mel.n_mels=96",
            "train.mixup=0",
            "train.augment=off",
            "audio.clip_seconds=10",
            "span=7",
            "name=my-genres",
            "beam.options=[--a=1, --b=2]",
            "gate.genre_recall={Hip-Hop: 0.4}",
            "model.options.filters=[8, 16]",
            "mel.fmax=null",
        ],
    )
    assert (config.mel.n_mels, config.mel.n_fft, config.mel.fmax) == (96, 1024, None)
    assert (config.train.mixup, config.train.augment) == (0.0, "off")
    assert config.audio.clip_seconds == 10.0
    assert (config.span, config.name) == (7, "my-genres")
    assert config.beam.options == ("--a=1", "--b=2")  # a list for a tuple, as YAML writes it
    assert config.gate.genre_recall == {"Hip-Hop": 0.4}
    assert config.model.options == {"filters": [8, 16]}


def test_the_last_set_wins() -> None:
    assert load_config(None, ["train.epochs=3", "train.epochs=5"]).train.epochs == 5


def test_what_is_dumped_is_read_back(write: Callable) -> None:
    places = ["data=/data", "workspace=/workspace"]
    config = load_config(None, ["beam.options=[--x=1]", "gate.genre_recall={no: 0.5}", "audio.clip_seconds=5", *places])
    assert load_config(write(yaml.safe_dump(json.loads(config.model_dump_json())))) == config
    assert PipelineConfig.model_validate_json(config.model_dump_json()) == config
    for section in (config.audio, config.mel, config.train, config.gate, config.model, config.beam, config.ingest):
        assert type(section).model_validate_json(section.model_dump_json()) == section  # as a node receives it


def test_it_is_frozen() -> None:
    config = load_config()
    for target, name in [(config, "span"), (config.mel, "n_mels"), (config.train, "mixup")]:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(target, name, 1)


# --- What is refused ---------------------------------------------------------------------------------------------

WRONG = {
    # YAML text: keys that the message must name
    "melt: {}": ["melt: unknown key"],
    "mel: {n_mel: 64}": ["mel.n_mel: unknown key"],
    "compare: {yamnet: {window: 1}}": ["compare.yamnet.window: unknown key"],
    "mel: {n_mels: '64'}": ["mel.n_mels: ", '(found "64")'],
    "mel: {n_mels: 64.5}": ["mel.n_mels: ", "(found 64.5)"],
    "mel: {n_mels: true}": ["mel.n_mels: ", "(found true)"],
    "mel: {n_mels: null}": ["mel.n_mels: ", "(found null)"],
    "mel: 5": ["mel: "],
    "mel: [n_mels, 64]": ["mel: "],
    "mel:": ["mel: "],
    "audio: {sample_rate: 22050 Hz}": ["audio.sample_rate: "],
    "audio: {clip_seconds: 0}": ["audio.clip_seconds: "],
    "audio: {clip_seconds: .nan}": ["audio.clip_seconds: "],
    "audio: {clip_seconds: .inf}": ["audio.clip_seconds: "],
    "gate: {min_accuracy: 1.5}": ["gate.min_accuracy: "],
    "gate: {min_accuracy: .nan}": ["gate.min_accuracy: "],
    "gate: {genre_recall: {Folk: 2}}": ["gate.genre_recall.Folk: "],
    "gate: {golden: {min_accuracy: 0.5}}": ["gate.golden: "],
    "gate: {max_latency_ms: 0}": ["gate.max_latency_ms: "],
    "train: {precision: float16}": ["train.precision: "],
    "train: {augment: on}": ["train.augment: ", "(found true)"],
    "train: {learning_rate: 0}": ["train.learning_rate: "],
    "beam: {options: --x=1}": ["beam.options: "],
    "beam: {options: [1]}": ["beam.options.0: "],
    "name: Genre!": ["name: "],
    "name: 2024-01-01": ["name: "],
    "span: -1": ["span: "],
    "mel: {hop_length: 4096}": ["mel: hop_length 4096 exceeds n_fft 2048"],
    "mel: {fmin: 9000, fmax: 8000}": ["mel: fmax 8000.0 must exceed fmin 9000.0"],
    "ingest: {splits: {train: 0.9}}": ["ingest.splits: train + eval + test is 1.26, not 1"],
    "mel: {n_mels: x, n_ftt: 1}\ntrain: {epochs: 0}": ["mel.n_mels: ", "mel.n_ftt: unknown key", "train.epochs: "],
    "1: 2": ["1: unknown key"],
    "name: no": ["name: ", "(found false; a text needs quotes)"],
    f"name: {'x' * 5000}": [f"name: String should match pattern '^[a-z][a-z0-9-]{{0,62}}$' (found \"{'x' * 79}...)"],
    "retrian: {when: now}": ["retrian: unknown key. Did you mean retrain?"],
    "train: {epoch: 3}": ["train.epoch: unknown key. Did you mean train.epochs?"],
    "n_mels: 64": ["n_mels: unknown key. Did you mean mel.n_mels?"],
    "compare: {yamnet: {window_second: 1}}": ["compare.yamnet.window_second: unknown key"],
    "\n".join(f"key-{number}: 1" for number in range(2000)): ["key-19: unknown key", "and 1980 more"],
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_is_told_by_key_and_file(text: str, write: Callable) -> None:
    file = write(text + "\n")
    with pytest.raises(UserError) as caught:
        load_config(file)
    message = str(caught.value)
    assert str(file) in message
    lines = [line.strip() for line in message.splitlines()[1:]]
    for expected in WRONG[text]:
        assert any(line.startswith(expected) or (expected.startswith("(") and expected in line) for line in lines)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("mel.n_mels=many", "mel.n_mels: "),
        ("mel.n_mels=", "mel.n_mels: "),
        ("compare.yamnet.window=1", "compare.yamnet.window: unknown key"),
        ("train.epochs.more=1", "train.epochs: "),
        ("mel=5", "mel: "),
        ("n_mels=64", "n_mels: unknown key"),
        ("mel.=5", "mel.: unknown key"),
        (".n_mels=5", ": unknown key"),
    ],
)
def test_a_wrong_set_is_told_by_key_and_as_a_set(override: str, expected: str) -> None:
    with pytest.raises(UserError, match=r"\(--set\)") as caught:
        load_config(None, [override])
    assert expected in str(caught.value)


@pytest.mark.parametrize("override", ["mel.n_mels", "", "=5", "mel.fmin=[1, 2", "mel.fmin=: :"])
def test_a_garbled_set_is_quoted(override: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(None, [override])
    assert f"--set {override}" in str(caught.value)


def test_a_set_into_a_value_is_refused(write: Callable) -> None:
    with pytest.raises(UserError, match=r"--set mel\.n_mels\.x=1: n_mels is a value, not a section"):
        load_config(write("mel: {n_mels: 64}"), ["mel.n_mels.x=1"])


def test_both_sources_are_named_when_there_are_two(write: Callable) -> None:
    file = write("mel: {n_mels: x}")
    with pytest.raises(UserError) as caught:
        load_config(file, ["train.epochs=2"])
    assert f"({file} and --set)" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"mel: [1, 2", "not readable as YAML"),
        (b"mel:\n\tn_mels: 1\n", "not readable as YAML"),
        (b"\xff\xfe\x00\x01", "not readable as YAML"),
        (b"a: !!python/object/apply:os.system [true]", "not readable as YAML"),
        (b"just words", "expected `section: ...` lines, found a str"),
        (b"- mel\n- train\n", "expected `section: ...` lines, found a list"),
        (b"42", "expected `section: ...` lines, found a int"),
    ],
)
def test_what_is_no_configuration_is_told_with_its_file(text: bytes, words: str, write: Callable) -> None:
    file = write(text)
    with pytest.raises(UserError) as caught:
        load_config(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert words in str(caught.value)


def test_a_missing_file_and_a_directory_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml: no such configuration file"):
        load_config(tmp_path / "nowhere.yaml")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UserError, match="not readable as YAML: it is no regular file"):
            load_config(path)
    assert load_config(Path(os.devnull)) == PipelineConfig()


# --- Where it is read --------------------------------------------------------------------------------------------


def test_a_relative_path_in_a_file_is_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    file = tmp_path / "configs" / "my.yaml"
    options = "{options: {weights: my.tflite}}"
    settings = "{yamnet: {weights: my.tflite}, musicnn: {weights: pretrained}}"
    file.write_text(
        "data: ../songs\nworkspace: gs://b/w\n"
        "beam: {runner: flink, flink: {master: '[local]', job_server_jar: my.jar}}\n"
        f"model: {options}\ncompare: {{yamnet: {options}, auto: {{options: {{settings: {settings}}}}}}}\n"
    )
    config = load_config(file)
    assert (config.data, config.workspace) == (f"{tmp_path}/songs", "gs://b/w")
    assert config.beam.flink.job_server_jar == f"{tmp_path}/configs/my.jar"
    assert config.model.options == config.compare["yamnet"].options == {"weights": f"{tmp_path}/configs/my.tflite"}
    assert config.compare["auto"].options["settings"] == {
        "yamnet": {"weights": f"{tmp_path}/configs/my.tflite"},
        "musicnn": {"weights": "pretrained"},  # a word, and no path
    }
    assert load_config(file, ["data=songs"]).data == "songs"
    file.write_text("window: 2")
    assert load_config(file).workspace == "workspace"


def test_a_project_has_its_default_paths_beside_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "er" / "genre.yaml").mkdir(parents=True)  # a folder is no file
    (tmp_path / "genre.yaml").write_text("window: 3")
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert find_project_file() == tmp_path / "genre.yaml"
    config = load_config(find_project_file())
    assert (config.window, config.data, config.workspace) == (3, f"{tmp_path}/workspace/data", f"{tmp_path}/workspace")
    (tmp_path / "deep" / "genre.yaml").touch()
    assert find_project_file() == tmp_path / "deep" / "genre.yaml"


def test_every_command_uses_the_file_that_it_finds_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "songs").mkdir()
    (tmp_path / "genre.yaml").write_text("window: 3\nworkspace: mine")
    (tmp_path / "other.yaml").write_text("window: 4")
    monkeypatch.chdir(tmp_path / "songs")

    def found(*words: str, **environment: str) -> tuple[dict[str, object], str]:
        done = CliRunner(env=environment).invoke(cli, ["config", "window", "workspace", *words])
        return yaml.safe_load(done.stdout), done.stderr

    assert found() == ({"window": 3, "workspace": f"{tmp_path}/mine"}, f"settings: {tmp_path}/genre.yaml\n")
    assert found("--config", "../other.yaml") == ({"window": 4, "workspace": "workspace"}, "")
    assert found("--config", os.devnull) == ({"window": 1, "workspace": "workspace"}, "")
    assert found(GENRE_WORKSPACE="w")[0] == {"window": 3, "workspace": "w"}
    assert found(GENRE_WORKSPACE="")[0]["workspace"] == f"{tmp_path}/mine"
    assert found("--set", "workspace=v", "--set", "window=5", GENRE_WORKSPACE="w")[0] == {"window": 5, "workspace": "v"}


def test_a_current_directory_that_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match="the current directory was removed"):
        find_project_file()


# --- Sections ----------------------------------------------------------------------------------------------------


def test_sections_refuse_a_wrong_type_from_python_too() -> None:
    for section, values in [
        (AudioConfig, {"sample_rate": "8000"}),
        (AudioConfig, {"sample_rate": 8000.0}),
        (MelConfig, {"bands": 3}),
        (GateConfig, {"min_accuracy": "high"}),
    ]:
        with pytest.raises(ValidationError):
            section(**values)


def test_clip_samples_are_rounded() -> None:
    assert AudioConfig().clip_samples == 661500
    assert AudioConfig(sample_rate=11025, clip_seconds=0.1).clip_samples == 1102
    assert AudioConfig(sample_rate=22050, clip_seconds=0.96).clip_samples == 21168


def test_splits_may_err_by_rounding_only() -> None:
    assert SplitConfig(train=0.7, eval=0.1, test=0.2).train == 0.7
    with pytest.raises(ValidationError, match=r"is 1\.001, not 1"):
        SplitConfig(train=0.7, eval=0.1, test=0.201)


def test_reading_it_imports_no_framework(write: Callable) -> None:
    file = write("train: {epochs: 3}")
    script = f"""
import json, sys
from pathlib import Path
from pipeline.config.settings import load_config
assert load_config(Path({str(file)!r}), ["mel.n_mels=64"]).train.epochs == 3
print(json.dumps(sorted({{module.split(".")[0] for module in sys.modules}})))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = set(json.loads(result.stdout))
    assert {"pipeline", "components", "models", "pydantic", "yaml"} <= imported
    heavy = {"tensorflow", "keras", "tfx", "apache_beam", "ml_metadata", "librosa", "sklearn", "numpy"}
    assert imported & heavy == set()


# --- Spans, and what is told of settings -------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "span"), [("3", 3), ("0", 0), ("first", "first"), ('"last"', "last")])
def test_a_span_is_a_number_or_an_end(text: str, span: int | str) -> None:
    config = load_config(None, [f"span={text}", f"golden={text}"])
    assert (config.span, config.golden) == (span, span)
    assert type(config.span) is type(span)


@pytest.mark.parametrize("key", ["span", "golden"])
@pytest.mark.parametrize("text", ["newest", "-1", "1.0", "true", '"3"', "[1]"])
def test_what_is_no_span(key: str, text: str) -> None:
    with pytest.raises(UserError, match=rf"{key}: not a span: .*; give its number, first or last"):
        load_config(None, [f"{key}={text}"])


def test_there_need_be_no_golden_span_but_a_newest() -> None:
    assert load_config(None, ["golden=null"]).golden is None
    with pytest.raises(UserError, match="span: not a span: None"):
        load_config(None, ["span=null"])


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("window=0", "window: Input should be greater than or equal to 1"),
        ("exclude=[-1]", "exclude.0: Input should be greater than or equal to 0"),
        ("exclude=[first]", "exclude.0: Input should be a valid integer"),
        ("exclude=3", "exclude: Input should be a valid array"),
    ],
)
def test_what_is_no_window(setting: str, told: str) -> None:
    with pytest.raises(UserError) as refusal:
        load_config(None, [setting])
    assert told in str(refusal.value)


def printed(*words: str) -> str:
    done = CliRunner().invoke(cli, ["config", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_sections_are_printed_alone() -> None:
    chosen = yaml.safe_load(printed("retrain", "window", "--set", "window=3"))
    assert chosen == {"window": 3, "retrain": yaml.safe_load(printed())["retrain"]}
    refused = CliRunner().invoke(cli, ["config", "retraining"])
    assert refused.exit_code == 2
    assert "'retraining' is no section" in refused.output


def test_the_page_on_retraining_has_the_settings_as_they_are() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "retraining.md").read_text()
    command, block = re.search(r"`genre config ([a-z ]+)`.*?```yaml\n(.*?)```", page, re.DOTALL).groups()
    assert block == printed(*command.split()), f"put the output of `genre config {command}` there"
