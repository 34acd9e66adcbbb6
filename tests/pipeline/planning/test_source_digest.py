"""The digest of the source: what must change it, what must not, on a copy of the tree that can be edited."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
TRANSFORM = ["components.audio.preprocessing"]
TRAIN_MEL = ["models.fitting.training", "models.kinds.mel_cnn"]
TRAIN_RAW = ["models.fitting.training", "models.kinds.raw_cnn"]

# Each in turn, with all before it undone: file, what is there (None: no such file), what is put there instead.
WORDS = {
    "a comment": ("components/audio/mel.py", "AMIN = 1e-10", "AMIN = 1e-10  # a very small number"),
    "the file's docstring": ("components/audio/mel.py", '"""The one log-mel', '"""The only log-mel'),
    "a function's docstring": ("components/audio/mel.py", '    """Slaney', '    """Malcolm Slaney'),
    "a constant's docstring": ("components/audio/mel.py", '"""Power floor', '"""Floor'),
    "layout": ("components/audio/mel.py", "AMIN = 1e-10", "AMIN = (\n    1e-10\n)\n\n"),
    "an entry module's docstring": ("models/kinds/mel_cnn.py", '"""Compact', '"""A compact'),
}
EVERYTHING = {"transform", "mel", "raw"}
CODE = {
    "a constant of the mel": (("components/audio/mel.py", "AMIN = 1e-10", "AMIN = 1e-9"), EVERYTHING),
    "a default": (("components/audio/config.py", "Field(2048, ge=64", "Field(4096, ge=64"), EVERYTHING),
    "the label": (("components/audio/preprocessing.py", "tf.argmax(", "tf.argmin("), EVERYTHING),
    "the mel's network": (("models/kinds/mel_cnn.py", "AveragePooling2D", "MaxPooling2D"), {"mel"}),
    "the waveform's network": (("models/kinds/raw_cnn.py", "(100, 20)", "(100, 30)"), {"raw"}),
    "augmentation": (("models/fitting/batches.py", "SHUFFLE_CLIPS = 2048", "SHUFFLE_CLIPS = 4096"), {"mel", "raw"}),
    "what is served": (("models/serving.py", "training=False", "training=None"), {"mel", "raw"}),
    "a module that nobody imports": (("components/unused.py", None, "VALUE = 1\n"), set()),
    "the pipeline": (("pipeline/config/settings.py", '"genre", pattern', '"genres", pattern'), set()),
}

SCRIPT = """
import json, pathlib, sys
from pipeline.planning import source_digest as digest

edits, groups = json.loads(sys.argv[1]), json.loads(sys.argv[2])
root = pathlib.Path.cwd()
assert pathlib.Path(digest.__file__).is_relative_to(root), digest.__file__

def digests():
    return {name: digest.source_digest(*modules) for name, modules in groups.items()}

result = {"before": digests(), "after": {}, "closures": {}}
for name, modules in groups.items():
    closure = digest.first_party_closure(modules)
    assert all(path.is_relative_to(root) for path in closure.values()), closure
    result["closures"][name] = sorted(closure)
for name, (file, old, new) in edits.items():
    path = root / file
    text = path.read_text() if path.exists() else None
    assert old in text if text else old is None, (name, "is no longer there to be edited")
    path.write_text(new if old is None else text.replace(old, new))
    result["after"][name] = digests()
    path.unlink() if text is None else path.write_text(text)
result["restored"] = digests()
result["reversed"] = digest.source_digest(*reversed(groups["mel"]))
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One process, because it imports TensorFlow, measures all the edits on a copy."""
    root = tmp_path_factory.mktemp("source")
    for package in ("components", "models", "pipeline"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    edits = WORDS | {name: edit for name, (edit, _) in CODE.items()}
    groups = {"transform": TRANSFORM, "mel": TRAIN_MEL, "raw": TRAIN_RAW}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(edits), json.dumps(groups)], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def changed(digests: dict[str, Any], edit: str) -> set[str]:
    """Which of the three digests an edit changes."""
    return {name for name, digest in digests["after"][edit].items() if digest != digests["before"][name]}


def test_it_is_sixteen_digits_and_the_same_again(digests: dict[str, Any]) -> None:
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in digests["before"].values())
    assert len(set(digests["before"].values())) == 3
    assert digests["restored"] == digests["before"]
    assert digests["reversed"] == digests["before"]["mel"]  # in whatever order the modules are named


@pytest.mark.parametrize("edit", WORDS)
def test_words_and_layout_do_not_count(edit: str, digests: dict[str, Any]) -> None:
    assert changed(digests, edit) == set()


@pytest.mark.parametrize("edit", CODE)
def test_code_counts_where_it_is_used(edit: str, digests: dict[str, Any]) -> None:
    assert changed(digests, edit) == CODE[edit][1]


def test_each_network_is_in_its_own_closure_only(digests: dict[str, Any]) -> None:
    mel, raw = (set(digests["closures"][name]) for name in ("mel", "raw"))
    assert mel - raw == {"models.kinds.mel_cnn"}
    assert raw - mel == {"models.kinds.raw_cnn"}


def test_the_closures_hold_all_that_python_imports(digests: dict[str, Any]) -> None:
    """Nothing that Python imports may be missing, but packages, which hold a docstring alone."""
    script = f"""
import importlib, json, sys
found = []
for modules in ({TRANSFORM!r}, {TRAIN_MEL!r}):
    for module in modules:
        importlib.import_module(module)
    found.append([
        name for name, module in sys.modules.items()
        if name.split(".")[0] in ("components", "models") and not hasattr(module, "__path__")
    ])
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    by_transform, by_training = map(set, json.loads(done.stdout.splitlines()[-1]))
    assert {"components.audio.config", "components.audio.mel"} <= by_transform
    assert {"models.fitting.batches", "models.kinds.mel_cnn"} <= by_training - by_transform
    assert by_transform - set(digests["closures"]["transform"]) == set()
    assert by_training - set(digests["closures"]["mel"]) == set()
