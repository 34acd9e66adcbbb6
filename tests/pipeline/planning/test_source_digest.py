"""The digest of each node's source: the modules that it covers, and which edits change it, on a copy of the tree."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.planning.source_digest import ENTRY_MODULES

ROOT = Path(__file__).resolve().parents[3]
KINDS = ("mel_cnn", "raw_cnn")
LEARNERS = {f"{node} of {kind}" for node in ("Tuner", "Trainer") for kind in KINDS}
ENTRIES = {node: modules for node, modules in ENTRY_MODULES.items() if node not in ("Tuner", "Trainer")} | {
    f"{node} of {kind}": (*ENTRY_MODULES[node], f"models.kinds.{kind}")
    for node in ("Tuner", "Trainer")
    for kind in KINDS
}

# --- The modules -------------------------------------------------------------------------------------------------

AUDIO = (
    "combined config descriptor_names descriptors mel musicnn_mel preprocessing representation representations "
    "resampling wav waveform yamnet_mel"
)
LEARNING = {
    "components.audio": AUDIO,
    "components.base": "errors files json_records section text",
    "components.evaluation": "folds",
    "components.nodes": "trainer",
    "components.store": "model_card saved_model",
    "models": "config pretrained registry serving windows",
}
FITTING = (
    "augmentation batches calibration classical devices ensemble head hosts pictures progress training transfer "
    "warm_start"
)
CLOSURES: dict[str, dict[str, str]] = {
    "ImportExampleGen": {
        "components.audio": "config",
        "components.base": "errors files json_records locks section times",
        "components.library": "layout restating.moves set_aside span_import tfrecords",
        "components.nodes": "example_files example_gen parameters.example_gen",
    },
    "Transform": {
        "components.audio": AUDIO,
        "components.base": "errors section",
        "components.library": "tfrecords",
        "components.nodes": "artifacts example_files parameters.transform transform",
    },
    **{
        f"Tuner of {kind}": LEARNING | {"models.fitting": f"{FITTING} tuning tuning_config", "models.kinds": kind}
        for kind in KINDS
    },
    **{f"Trainer of {kind}": LEARNING | {"models.fitting": FITTING, "models.kinds": kind} for kind in KINDS},
    "DriftDetector": {
        "components.audio": "config descriptor_names",
        "components.base": "errors files json_records section",
        "components.drift": "config energy families farthest permutations profile report validator_distances",
        "components.library": "health tfrecords",
        "components.nodes": "artifacts drift_detector parameters.drift_detector",
        "components.store": "model_card saved_model",
    },
    "GateEvaluator": {
        "components.audio": "config",
        "components.base": "errors files json_records labels section tables text",
        "components.beam": "direct",
        "components.evaluation": "checks config gate metrics predictions results",
        "components.library": "span_import tfrecords",
        "components.nodes": "artifacts evaluator parameters.evaluator",
        "components.store": "measuring model_card saved_model",
    },
    "ReferenceProfile": {
        "components.base": "errors section",
        "components.drift": "profile",
        "components.library": "health tfrecords",
        "components.nodes": "artifacts reference_profile",
    },
    "EndpointPusher": {
        "components.audio": "config wav",
        "components.base": "errors files json_records leases locks objects section times",
        "components.evaluation": "results",
        "components.google": "client config endpoint machines retries",
        "components.library": "tfrecords",
        "components.nodes": "endpoint_pusher parameters.endpoint_pusher",
        "components.store": "checksums loading model_card model_store saved_model smoke",
    },
    "Reporter": {
        "components.audio": "config mel opus representation wav waveform",
        "components.base": "errors files json_records leases locks objects section tables text times",
        "components.drift": "profile report",
        "components.evaluation": "curves metrics predictions results",
        "components.library": "health layout restating.moves tables tfrecords",
        "components.nodes": "artifacts parameters.reporter reporter",
        "components.reporting": "charts fit hearing listening page report song_map spectrograms timeline_chart",
        "components.retraining": "config history policy timeline",
        "components.store": "checksums model_card model_store saved_model",
    },
}
"""By node and folder: the modules whose code its digest covers, each by its name in the folder."""

# --- The edits ---------------------------------------------------------------------------------------------------

# Each in turn, with all before it undone: file, what is there (None: no such file), what is put there instead.
WORDS = {
    "a comment": ("components/audio/mel.py", "AMIN = 1e-10", "AMIN = 1e-10  # a very small number"),
    "a file's docstring": ("components/audio/mel.py", '"""The one log-mel', '"""The only log-mel'),
    "a function's docstring": ("components/audio/mel.py", '    """Slaney', '    """Malcolm Slaney'),
    "a constant's docstring": ("components/audio/mel.py", '"""Power floor', '"""Floor'),
    "an entry module's docstring": ("models/kinds/mel_cnn.py", '"""Compact', '"""A compact'),
    "layout": ("components/audio/mel.py", "AMIN = 1e-10", "AMIN = (\n    1e-10\n)\n\n"),
    "an error that is raised": ("components/nodes/example_files.py", "no such files", "nothing there"),
    "another one": ("models/registry.py", "no model is called", "there is no model called"),
    "an error that is returned": ("components/library/set_aside.py", "cannot be set aside:", "stays in use:"),
    "what to do about an error": ("components/base/errors.py", "The disk is full.", "No room is left on the disk."),
    "the description of a setting": ("models/config.py", "clips in a batch", "sum of all devices"),
    "another description": (
        "components/audio/config.py",
        "length of a frame of the Fourier transform",
        "size of a frame",
    ),
    "a module that nobody imports": ("components/unused.py", None, "VALUE = 1\n"),
    "the pipeline's configuration": ("pipeline/config/settings.py", '"genre", pattern', '"genres", pattern'),
    "the settings of ingest": ("components/library/config.py", "2.0", "3.0"),
    "the settings of Beam": ("components/beam/config.py", '"multi_threading", description', '"in_memory", description'),
}
CODE: dict[str, tuple[tuple[str, str, str], set[str]]] = {
    "an accelerator": (("components/google/machines.py", '"NVIDIA_L4"', '"NVIDIA_L5"'), {"EndpointPusher"}),
    "a chart": (("components/reporting/timeline_chart.py", "SPANS = 16", "SPANS = 17"), {"Reporter"}),
    "a floor of the gate": (("components/evaluation/config.py", "Field(0.5,", "Field(0.6,"), {"GateEvaluator"}),
    "the search": (
        ("models/fitting/tuning_config.py", "Field(10, ge=1", "Field(11, ge=1"),
        {f"Tuner of {kind}" for kind in KINDS},
    ),
    "the policy": (("components/retraining/config.py", "Field(3, ge=1", "Field(4, ge=1"), {"Reporter"}),
    "the mel": (
        ("components/audio/mel.py", "AMIN = 1e-10", "AMIN = 1e-9"),
        {"Transform", *LEARNERS, "Reporter"},  # the report draws it
    ),
    "the label": (("components/audio/preprocessing.py", "tf.argmax(", "tf.argmin("), {"Transform", *LEARNERS}),
    "the mel's network": (
        ("models/kinds/mel_cnn.py", "AveragePooling2D", "MaxPooling2D"),
        {"Tuner of mel_cnn", "Trainer of mel_cnn"},
    ),
    "the waveform's network": (
        ("models/kinds/raw_cnn.py", "(100, 20)", "(100, 30)"),
        {"Tuner of raw_cnn", "Trainer of raw_cnn"},
    ),
    "augmentation": (("models/fitting/batches.py", "LEAST_STEPS = 32", "LEAST_STEPS = 64"), LEARNERS),
    "what is served": (("models/serving.py", "training=False", "training=None"), LEARNERS),
    "a window of several spans": (("components/nodes/trainer.py", "spans[1:], 1)", "spans[1:], 2)"), LEARNERS),
}

SCRIPT = """
import json, pathlib, sys
from pipeline.planning import source_digest as digest

edits, entries = json.loads(sys.argv[1]), json.loads(sys.argv[2])
root = pathlib.Path.cwd()
assert pathlib.Path(digest.__file__).is_relative_to(root), digest.__file__

def digests():
    return {name: digest.source_digest(*modules) for name, modules in entries.items()}

result = {"before": digests(), "after": {}, "closures": {}}
for name, modules in entries.items():
    closure = digest.first_party_closure(modules)
    assert all(path.is_relative_to(root) for path in closure.values()), closure
    result["closures"][name] = sorted(module for module, path in closure.items() if path.name != "__init__.py")
for name, (file, old, new) in edits.items():
    path = root / file
    text = path.read_text() if path.exists() else None
    assert old in text if text else old is None, (name, "is no longer there to be edited")
    path.write_text(new if old is None else text.replace(old, new))
    result["after"][name] = digests()
    path.unlink() if text is None else path.write_text(text)
result["restored"] = digests()
result["reversed"] = {name: digest.source_digest(*reversed(modules)) for name, modules in entries.items()}
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One process measures all the edits on a copy."""
    root = tmp_path_factory.mktemp("source")
    for package in ("components", "models", "pipeline"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    edits = WORDS | {name: edit for name, (edit, _) in CODE.items()}
    command = [sys.executable, "-c", SCRIPT, json.dumps(edits), json.dumps(ENTRIES)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def changed(digests: dict[str, Any], edit: str) -> set[str]:
    """Names the nodes whose digest an edit changes."""
    return {name for name, digest in digests["after"][edit].items() if digest != digests["before"][name]}


def test_it_is_sixteen_digits_and_the_same_again(digests: dict[str, Any]) -> None:
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in digests["before"].values())
    assert len(set(digests["before"].values())) == len(ENTRIES)
    assert digests["restored"] == digests["reversed"] == digests["before"]


@pytest.mark.parametrize("node", ENTRIES)
def test_a_digest_covers_these_modules_and_no_other(node: str, digests: dict[str, Any]) -> None:
    expected = {f"{folder}.{name}" for folder, names in CLOSURES[node].items() for name in names.split()}
    assert set(digests["closures"][node]) == expected


@pytest.mark.parametrize("edit", WORDS)
def test_words_layout_and_what_no_node_uses_do_not_count(edit: str, digests: dict[str, Any]) -> None:
    assert changed(digests, edit) == set()


@pytest.mark.parametrize("edit", CODE)
def test_code_counts_where_it_is_used(edit: str, digests: dict[str, Any]) -> None:
    assert changed(digests, edit) == CODE[edit][1]


IMPORTS = """
import importlib, json, os, sys
import apache_beam, keras, tensorflow, tfx.components  # once, and not in every child

for name, modules in json.loads(sys.argv[1]).items():
    if os.fork() == 0:
        for module in modules:
            importlib.import_module(module)
        found = [
            name for name, module in sys.modules.items()
            if name.split(".")[0] in ("components", "models") and not hasattr(module, "__path__")
        ]
        print(json.dumps({name: found}), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, name
"""


def test_a_digest_covers_all_that_python_imports(digests: dict[str, Any]) -> None:
    """Nothing that Python imports may be missing, but packages, which hold a docstring alone."""
    command = [sys.executable, "-c", IMPORTS, json.dumps(ENTRIES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            found |= json.loads(line)
    assert found.keys() == ENTRIES.keys()
    for node, modules in found.items():
        assert set(ENTRIES[node]) <= set(modules)
        assert set(modules) - set(digests["closures"][node]) == set()
