"""Every kind of model. A new one is a file in `models.kinds` and a line here.

A kind's file holds `Options`, the frozen settings that `model.options` may set, and the functions of its family:

- `network`, trained from nothing: `build(options, input_shape, classes) -> keras.Model`.
- `transfer`, a head on a pretrained base, with `Options` of `models.config.TransferOptions`: `build_base(options,
  input_shape) -> keras.Model`, from a window to an embedding; `parts(options)`, columns of the embedding by name, among
  which the head chooses; and `fine_tune(base, options)`, which unfreezes the last blocks of the base.
- `classical`, fitted by scikit-learn: `fit(options, examples, classes, seed) -> models.fitting.classical.Fitted`.

The result is a `keras.Model` from a float32 window [batch, *input_shape] to logits [batch, classes], in plain Keras 3.
Its layer called `models.config.EMBEDDING` gives the embedding of a window, [batch, E]: the input of the last layer or,
in the classical kinds, the output of the front. Keras is imported inside these functions, so that a configuration is
checked without it.
"""

import hashlib
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

from etils import epath
from pydantic import ValidationError

from components.base.errors import UserError
from components.base.section import Section, problems
from models.config import ModelConfig, TransferOptions
from models.pretrained import place


@dataclass(frozen=True)
class Kind:
    """Facts of a kind that are needed before it is built."""

    module: str
    representation: str
    """A name in `components.audio.representations.REPRESENTATIONS`."""
    family: Literal["network", "transfer", "classical"]


KINDS = {
    "mel_cnn": Kind("models.kinds.mel_cnn", "log_mel", "network"),
    "raw_cnn": Kind("models.kinds.raw_cnn", "waveform", "network"),
    "sample_cnn": Kind("models.kinds.sample_cnn", "waveform", "network"),
    "mobilenet": Kind("models.kinds.mobilenet", "log_mel", "transfer"),
    "yamnet": Kind("models.kinds.yamnet", "yamnet_mel", "transfer"),
    "musicnn": Kind("models.kinds.musicnn", "musicnn_mel", "transfer"),
    "logistic_regression": Kind("models.kinds.logistic_regression", "descriptors", "classical"),
    "knn": Kind("models.kinds.knn", "descriptors", "classical"),
    "naive_bayes": Kind("models.kinds.naive_bayes", "descriptors", "classical"),
    "svm_rbf": Kind("models.kinds.svm_rbf", "descriptors", "classical"),
    "svm_linear": Kind("models.kinds.svm_linear", "descriptors", "classical"),
}


def kind_of(model: ModelConfig) -> Kind:
    """Returns the kind that `model` names.

    Raises:
      UserError: there is none of that name.
    """
    if model.kind not in KINDS:
        raise UserError(f"model.kind: no model is called {model.kind!r}; there are {', '.join(sorted(KINDS))}")
    return KINDS[model.kind]


def load(model: ModelConfig) -> tuple[ModuleType, Section]:
    """Imports the file of a kind, and checks its settings.

    Returns:
      The module, and its `Options`.

    Raises:
      UserError: there is no such kind, or it does not take these settings.
    """
    module = importlib.import_module(kind_of(model).module)
    try:
        return module, module.Options.model_validate_json(json.dumps(model.options))
    except ValidationError as error:
        wrong = "; ".join(f"model.options.{problem}" for problem in problems(error))
        known = ", ".join(module.Options.model_fields) or "none"
        raise UserError(f"{wrong} ({model.kind} takes: {known})") from error


def weights_digest(model: ModelConfig) -> str:
    """Computes a digest of the pretrained weights that `model` names, so that a replaced file counts as another one.

    Returns:
      Hexadecimal SHA-256 over the file, or over all files of the directory; empty where there is neither.

    Raises:
      UserError: see `load`.
    """
    _, options = load(model)
    source = options.weights if isinstance(options, TransferOptions) else None
    path = epath.Path(place(model.kind, source)) if source else None
    if path is None or not path.exists():
        return ""
    digest = hashlib.sha256()
    for file in _files(path):
        digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _files(path: epath.Path) -> Iterator[epath.Path]:
    """Lists the file, or all files of the directory and below; epath has no rglob."""
    if not path.is_dir():
        yield path
        return
    for entry in sorted(path.iterdir()):
        yield from _files(entry)
