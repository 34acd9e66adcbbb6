"""Every kind of model. A new one is a file in `models.kinds` and a line here.

A kind's file holds `Options`, the frozen settings that `model.options` may set, and the functions of its family:

- `network`, trained from nothing: `build(options, input_shape, classes) -> keras.Model`.
- `transfer`, a head on a pretrained base, with `Options` of `models.config.TransferOptions`: `build_base(options,
  input_shape) -> keras.Model`, from a window to an embedding; `parts(options)`, columns of the embedding by name, among
  which the head chooses; and `fine_tune(base, options)`, which unfreezes the last blocks of the base.
- `classical`, fitted by scikit-learn: `fit(options, examples, classes, seed) -> models.fitting.classical.Fitted`.
- `ensemble`, the mean of other kinds: `Options` of `models.config.EnsembleOptions` alone.

The result is a `keras.Model` from a float32 window [batch, *input_shape] to logits [batch, classes], in plain Keras 3.
Its layer called `models.config.EMBEDDING` gives the embedding of a window, [batch, E]: the input of the last layer or,
in the classical kinds, the output of the front; of an ensemble, those of its members side by side. Keras is imported
inside these functions, so that a configuration is checked without it.
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

from components.audio.config import COMBINED_PARTS, FeatureConfig
from components.base.errors import UserError
from components.base.files import sha256
from components.base.section import Section, problems
from models.config import EnsembleOptions, ModelConfig, TransferOptions
from models.pretrained import WEIGHTS, place


@dataclass(frozen=True)
class Kind:
    """Facts of a kind that are needed before it is built."""

    module: str
    representation: str
    """A name in `components.audio.representations.REPRESENTATIONS`."""
    family: Literal["network", "transfer", "classical", "ensemble"]


KINDS = {
    "auto": Kind("models.kinds.auto", "combined", "ensemble"),
    "ensemble": Kind("models.kinds.ensemble", "combined", "ensemble"),
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
    "extra_trees": Kind("models.kinds.extra_trees", "descriptors", "classical"),
}


def kind_of(model: ModelConfig) -> Kind:
    """Returns the kind that `model` names.

    Raises:
      UserError: there is none of that name.
    """
    if model.kind not in KINDS:
        raise UserError(f"model.kind: no model is called {model.kind!r}; there are {', '.join(sorted(KINDS))}")
    return KINDS[model.kind]


def load(model: ModelConfig, key: str = "model.options") -> tuple[ModuleType, Section]:
    """Imports the file of a kind, and checks its settings.

    Args:
      key: name of `model.options` in messages.

    Returns:
      The module, and its `Options`.

    Raises:
      UserError: there is no such kind, or it does not take these settings.
    """
    module = importlib.import_module(kind_of(model).module)
    try:
        options = module.Options.model_validate_json(json.dumps(model.options))
    except ValidationError as error:
        wrong = "; ".join(f"{key}.{problem}" for problem in problems(error))
        known = ", ".join(module.Options.model_fields) or "none"
        raise UserError(f"{wrong} ({model.kind} takes: {known})") from error
    if isinstance(options, EnsembleOptions):
        for member in _members(model, options).values():
            _check_member(member)
    return module, options


def _check_member(member: ModelConfig) -> None:
    able = [name for name, kind in KINDS.items() if kind.representation in COMBINED_PARTS]
    if member.kind not in able:
        raise UserError(f"model.options.members: {member.kind!r} cannot be one; there are {', '.join(able)}")
    key = f"model.options.settings.{member.kind}"
    _, options = load(member, key)
    if isinstance(options, TransferOptions) and options.fine_tune_blocks:
        raise UserError(f"{key}.fine_tune_blocks: the base of a member stays frozen; set it to 0")


def _members(model: ModelConfig, options: EnsembleOptions) -> dict[str, ModelConfig]:
    return {
        kind: model.model_copy(update={"kind": kind, "options": options.settings.get(kind, {})})
        for kind in options.members
    }


def members(model: ModelConfig) -> dict[str, ModelConfig]:
    """Returns the models that are fitted for `model`, by kind: itself or, for an ensemble, its members.

    Raises:
      UserError: see `load`.
    """
    _, options = load(model)
    return _members(model, options) if isinstance(options, EnsembleOptions) else {model.kind: model}


def learners(model: ModelConfig, features: FeatureConfig) -> dict[str, tuple[ModelConfig, FeatureConfig]]:
    """Returns `members` with what each sees; a member of an ensemble sees the whole clip as one window.

    Raises:
      UserError: see `load`.
    """
    if kind_of(model).family != "ensemble":
        return {model.kind: (model, features)}
    whole = {"window_seconds": features.audio.clip_seconds}
    return {
        kind: (
            member.model_copy(update=whole),
            features.model_copy(update={"representation": kind_of(member).representation}),
        )
        for kind, member in members(model).items()
    }


def modules(model: ModelConfig) -> tuple[str, ...]:
    """Returns the names of the files that fitting `model` loads.

    Raises:
      UserError: see `load`.
    """
    return tuple(dict.fromkeys(kind_of(each).module for each in (model, *members(model).values())))


def _weights_of(model: ModelConfig) -> epath.Path | None:
    """Returns the place of the pretrained weights that `model` names; None where it names none."""
    _, options = load(model)
    if not isinstance(options, TransferOptions) or options.weights is None:
        return None
    return epath.Path(place(model.kind, options.weights))


def lacks_weights(model: ModelConfig) -> bool:
    """Returns whether `model` names pretrained weights that are not there.

    Raises:
      UserError: see `load`.
    """
    path = _weights_of(model)
    return path is not None and not path.exists()


def require_weights(model: ModelConfig) -> None:
    """Checks that the pretrained weights that `model` names are there, unless it does without.

    Raises:
      UserError: some are not, or see `load`.
    """
    _, options = load(model)
    if isinstance(options, EnsembleOptions) and options.skip_missing:
        return
    for kind, member in members(model).items():
        if lacks_weights(member):
            key = "model.options.weights" if kind == model.kind else f"model.options.settings.{kind}.weights"
            raise UserError(
                f"{key}: there is no {_weights_of(member)}. Run `genre weights {kind}`, or set it to the path of "
                "the weights"
            )


def trained_on(model: ModelConfig) -> dict[str, str]:
    """Returns what the pretrained base of `model` was trained on, with its licence, by kind; empty where there is none.

    Raises:
      UserError: see `load`.
    """
    if _weights_of(model) is None:
        return {}
    known = WEIGHTS[model.kind]
    return {model.kind: f"{known.trained_on} ({known.licence})"}


def weights_digest(model: ModelConfig) -> str:
    """Computes a digest of the pretrained weights that `model` names, so that a replaced file counts as another one.

    Returns:
      Hexadecimal SHA-256 over the file, or over all files of the directory, of each member of an ensemble; empty
      where there is none.

    Raises:
      UserError: see `load`.
    """
    paths = [path for member in members(model).values() if (path := _weights_of(member)) and path.exists()]
    digest = hashlib.sha256()
    for path in paths:
        for file in _files(path):
            digest.update(file.name.encode() + bytes.fromhex(sha256(file)))
    return digest.hexdigest() if paths else ""


def _files(path: epath.Path) -> Iterator[epath.Path]:
    """Lists the file, or all files of the directory and below; epath has no rglob."""
    if not path.is_dir():
        yield path
        return
    for entry in sorted(path.iterdir()):
        yield from _files(entry)
