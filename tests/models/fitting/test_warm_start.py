"""Training that starts from the champion: when it does, when it says why not, and that nothing of it gets lost."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from etils import epath

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.store.model_card import ModelCard, write_card
from models.config import ModelConfig
from models.fitting.calibration import Calibration, calibrated
from models.fitting.head import build_head
from models.fitting.transfer import assemble
from models.fitting.warm_start import FRESH, begin, warm_start, write_weights
from models.registry import KINDS, kind_of, load
from models.windows import window_shape

GENRES = ("folk", "rock")
OPTIONS: dict[str, dict[str, Any]] = {
    "mel_cnn": {"filters": [4, 8]},
    "mobilenet": {"weights": None},
    "yamnet": {"weights": None},
    "musicnn": {"weights": None},
}
TRAINED = [kind for kind, is_ in KINDS.items() if is_.family in ("network", "transfer")]
every_kind = pytest.mark.parametrize("kind", TRAINED)


def model_of(kind: str, **changes: Any) -> ModelConfig:
    return ModelConfig.model_validate({"kind": kind, "window_seconds": 0.5, "options": OPTIONS.get(kind, {})} | changes)


def features_of(model: ModelConfig, **changes: Any) -> FeatureConfig:
    known = {
        "representation": kind_of(model).representation,
        "genres": GENRES,
        "mel": MelConfig(n_fft=256, n_mels=16, hop_length=128),
    }
    return FeatureConfig.model_validate(known | {"audio": AudioConfig(sample_rate=8000, clip_seconds=1.0)} | changes)


def network_of(model: ModelConfig, seed: int) -> keras.Model:
    """As training builds it, before anything is learnt."""
    keras.utils.set_random_seed(seed)
    module, options = load(model)
    shape = window_shape(model, features_of(model))
    if kind_of(model).family == "network":
        return module.build(options, shape, len(GENRES))
    base = module.build_base(options, shape)
    return assemble(base, build_head(base.output_shape[-1], len(GENRES)))


def answers(network: keras.Model) -> np.ndarray:
    windows = np.random.default_rng(0).random((3, *network.input_shape[1:]), np.float32)
    return network(windows, training=False).numpy()


def push(directory: Path, model: ModelConfig, network: keras.Model, **changes: Any) -> str:
    """The part of a pushed model that its successor looks at."""
    card = ModelCard(
        kind=model.kind, parameters=1, window_seconds=model.window_seconds, features=features_of(model, **changes)
    )
    write_card(card, epath.Path(directory))
    write_weights(network, model, str(directory))
    return str(directory)


@every_kind
def test_it_goes_on_where_the_champion_was(kind: str, tmp_path: Path) -> None:
    model = model_of(kind)
    champion, network = network_of(model, 1), network_of(model, 2)
    generator = np.random.default_rng(3)
    # Batch norm has weights of another kind, which are not random at first.
    champion.set_weights([each + 0.1 * generator.random(each.shape, np.float32) for each in champion.get_weights()])
    champion.trainable = False  # as a frozen base is: that must not change the order
    expected = answers(champion)
    assert np.abs(answers(network) - expected).max() > 1e-4
    start = warm_start(
        push(tmp_path, model, calibrated(champion, Calibration(2.5, 0.1, on_bound=False))), model, features_of(model)
    )
    assert begin(network, start) == start.words == "the champion's weights"
    np.testing.assert_allclose(answers(network), expected, atol=1e-5)


@pytest.fixture
def champion(tmp_path: Path) -> str:
    model = model_of("mel_cnn")
    return push(tmp_path / "champion", model, network_of(model, 1))


def fresh(champion: str, model: ModelConfig, **changes: Any) -> str:
    """Why training would not start from the champion."""
    start = warm_start(champion, model, features_of(model, **changes))
    assert start.weights is None
    assert begin(network_of(model, 2), start) == start.words
    return start.words


def test_new_genres_begin_a_new_line(champion: str) -> None:
    words = fresh(champion, model_of("mel_cnn"), genres=(*GENRES, "ska"))
    assert words == "fresh: the champion knows other genres (folk, rock): a new model line begins"
    assert "other genres" in fresh(champion, model_of("mel_cnn"), genres=GENRES[::-1]), "their order matters, too"


@pytest.mark.parametrize(
    ("model", "features"),
    [
        (model_of("raw_cnn"), {}),
        (model_of("mel_cnn", window_seconds=0.25), {}),
        (model_of("mel_cnn"), {"audio": AudioConfig(sample_rate=8000, clip_seconds=2.0)}),
        (model_of("mel_cnn"), {"mel": MelConfig(n_fft=512, n_mels=16, hop_length=128)}),
    ],
    ids=["kind", "window", "audio", "mel"],
)
def test_other_settings_start_afresh(champion: str, model: ModelConfig, features: dict[str, Any]) -> None:
    assert fresh(champion, model, **features) == "fresh: the champion is a mel_cnn of other settings"


def test_other_layers_start_afresh(champion: str) -> None:
    model = model_of("mel_cnn", options={"filters": [4, 8, 8]})
    network = network_of(model, 2)
    before = answers(network)
    start = warm_start(champion, model, features_of(model))
    assert begin(network, start) == "fresh: the champion's network has other layers"
    np.testing.assert_array_equal(answers(network), before)


def test_other_pretrained_weights_are_not_overwritten(tmp_path: Path) -> None:
    def pretrained(content: bytes) -> ModelConfig:
        (tmp_path / "weights.h5").write_bytes(content)  # only its digest is looked at
        return model_of("mobilenet", options={"weights": str(tmp_path / "weights.h5")})

    network = network_of(model_of("mobilenet"), 1)
    directory = push(tmp_path / "champion", model := pretrained(b"first"), network)
    assert warm_start(directory, model, features_of(model)).weights is not None
    start = warm_start(directory, model := pretrained(b"second"), features_of(model))
    assert (start.weights, start.words) == (None, "fresh: the champion rests on other pretrained weights")


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - set(TRAINED)))
def test_what_is_fitted_in_one_go_starts_afresh(champion: str, kind: str) -> None:
    model = model_of(kind)
    assert warm_start(champion, model, features_of(model)).words == f"fresh: {kind} is fitted in one go"


def test_without_a_champion_or_its_weights(champion: str, tmp_path: Path) -> None:
    model = model_of("mel_cnn")
    assert fresh(str(tmp_path / "none"), model) == "fresh: there is no champion"
    (Path(champion) / "assets.extra" / "weights.npz").unlink()
    assert fresh(champion, model).startswith("fresh: the champion was trained without train.warm_start")
    assert begin(network_of(model, 1), FRESH) == "fresh"
