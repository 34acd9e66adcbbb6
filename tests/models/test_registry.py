"""The registry: what is refused, in which words, and that looking needs neither Keras nor TensorFlow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.audio.representations import REPRESENTATIONS
from components.base.errors import UserError
from models.config import ModelConfig
from models.pretrained import cached
from models.registry import KINDS, kind_of, load, weights_digest


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_loads_with_its_defaults(name: str) -> None:
    model = ModelConfig(kind=name)
    module, options = load(model)
    assert module.__name__ == kind_of(model).module
    assert isinstance(options, module.Options)
    assert options == module.Options()
    assert kind_of(model).representation in REPRESENTATIONS


def test_options_reach_the_kind() -> None:
    _, options = load(ModelConfig(kind="mel_cnn", options={"filters": [8, 16], "dropout": 0}))
    assert options.filters == (8, 16)
    assert options.dropout == 0.0
    with pytest.raises(ValueError, match="frozen"):
        options.dropout = 0.5


def test_an_unknown_kind_names_the_key_and_the_kinds() -> None:
    with pytest.raises(UserError, match=r"^model\.kind: .*'resnet'") as caught:
        load(ModelConfig(kind="resnet"))
    for name in KINDS:
        assert name in str(caught.value)


@pytest.mark.parametrize("name", KINDS)
def test_an_unknown_option_names_the_key_and_the_options(name: str) -> None:
    with pytest.raises(UserError, match=r"^model\.options\.depht: ") as caught:
        load(ModelConfig(kind=name, options={"depht": 3}))
    module, _ = load(ModelConfig(kind=name))
    assert f"{name} takes:" in str(caught.value)
    for option in module.Options.model_fields:
        assert option in str(caught.value)


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({"dropout": "0.5"}, ["model.options.dropout"]),
        ({"dropout": 1.0}, ["model.options.dropout"]),
        ({"dropout": True}, ["model.options.dropout"]),
        ({"filters": []}, ["model.options.filters"]),
        ({"filters": [8, 1.5]}, ["model.options.filters.1"]),
        ({"filters": 8, "dropout": -1}, ["model.options.filters", "model.options.dropout"]),
    ],
)
def test_an_ill_typed_option_names_the_key(options: dict, keys: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load(ModelConfig(kind="mel_cnn", options=options))
    for key in keys:
        assert f"{key}: " in str(caught.value)


def test_looking_imports_no_framework() -> None:
    script = """
import json, sys
from models.config import ModelConfig
from models.registry import KINDS, load
for name in KINDS:
    load(ModelConfig(kind=name))
print(json.dumps(sorted({module.split(".")[0] for module in sys.modules})))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = set(json.loads(result.stdout))
    assert {"models", "components", "pydantic"} <= imported
    heavy = {"keras", "tensorflow", "tf_keras", "tfx", "apache_beam", "sklearn", "librosa"}
    assert imported & heavy == set()


def test_weights_are_known_by_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def digest(source: Path | str | None) -> str:
        return weights_digest(
            ModelConfig(kind="yamnet", window_seconds=1.0, options={"weights": source and str(source)})
        )

    file, folder = tmp_path / "a.tflite", tmp_path / "saved_model"
    file.write_bytes(b"one")
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "data").write_bytes(b"one")
    before = digest(file), digest(folder)
    assert len(set(before) - {""}) == 2
    assert (digest(file), digest(folder)) == before
    file.write_bytes(b"two")
    (folder / "variables" / "data").write_bytes(b"two")
    assert not {digest(file), digest(folder)} & set(before)
    assert digest(None) == digest(tmp_path / "missing") == ""
    for kind in KINDS:
        assert weights_digest(ModelConfig(kind=kind)) == ""
    cached("yamnet").parent.mkdir(parents=True)
    cached("yamnet").write_bytes(b"one")
    assert weights_digest(ModelConfig(kind="yamnet"))
