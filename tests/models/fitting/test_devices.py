"""The strategy of this machine, and a fit over several devices: two halves of the processor posing as GPUs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.wav import encode_wav
from components.base.errors import UserError
from models.config import ModelConfig
from models.fitting.devices import device_strategy, has_bfloat16, precision_policy
from models.registry import KINDS

GPUS = tf.config.list_physical_devices("GPU")
FEATURES = FeatureConfig(
    representation="log_mel",
    genres=("a", "b", "c"),
    audio=AudioConfig(sample_rate=4000, clip_seconds=0.5),
    mel=MelConfig(n_fft=128, hop_length=64, n_mels=16),
)


def test_one_device_needs_no_distribution() -> None:
    if len(GPUS) > 1:
        pytest.skip("a machine of several GPUs")
    strategy, where = device_strategy()
    assert strategy is tf.distribute.get_strategy()
    assert strategy.num_replicas_in_sync == 1
    assert where == ("one GPU" if GPUS else "CPU")


@pytest.mark.skipif(bool(GPUS), reason="a machine with a GPU")
def test_a_cpu_has_no_bfloat16() -> None:
    assert has_bfloat16() is False
    assert precision_policy("auto").name == "float32"


def test_float32_is_float32_everywhere() -> None:
    assert precision_policy("float32") == keras.DTypePolicy("float32")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [([(8, 0)], True), ([(9, 0), (8, 6)], True), ([(7, 5)], False), ([(8, 0), (7, 0)], False), ([None], False)],
)
def test_bfloat16_needs_every_gpu_to_have_it(
    capabilities: list, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = [f"GPU:{index}" for index in range(len(capabilities))]
    details = {
        gpu: {"compute_capability": capability} if capability else {}
        for gpu, capability in zip(gpus, capabilities, strict=True)
    }
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details.__getitem__)
    assert has_bfloat16() is expected
    assert precision_policy("auto").name == ("mixed_bfloat16" if expected else "float32")
    assert precision_policy("float32").name == "float32"


STRATEGY = """
from components.base.errors import UserError
from models.fitting.devices import device_strategy
try:
    print(device_strategy())
except UserError as error:
    print("refused:", error)
"""
SERVER = """
import tensorflow as tf
server = tf.distribute.Server({"worker": ["localhost:0"]}, job_name="worker", task_index=0)
print(server.target, flush=True)
server.join()
"""


def strategy_under(environment: dict[str, str]) -> str:
    """What a process of its own is told under these environment variables."""
    done = subprocess.run(
        [sys.executable, "-c", STRATEGY], env=os.environ | environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


def test_a_named_tpu_that_is_none_is_no_silent_cpu() -> None:
    """As far as a machine without one gets: a server that is found and connected to, and has no TPU."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        try:
            target = server.stdout.readline().strip()
            told = strategy_under({"KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS": target})
        finally:
            server.kill()
    assert told.startswith(f"refused: the TPU that the environment names ({target}) does not answer as one")
    assert "unset TPU_NAME" in told


def test_several_hosts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}}))
    with pytest.raises(UserError, match="TF_CONFIG names 3 workers"):
        device_strategy()


@pytest.mark.parametrize("text", ["{oops", "[]"])
def test_a_damaged_cluster_is_told(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="TF_CONFIG in the environment is no JSON object"):
        device_strategy()


def test_one_host_of_a_managed_service_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = {"chief": ["localhost:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "chief", "index": 0}}))
    assert device_strategy()[0].num_replicas_in_sync >= 1


FIT = """
import json, sys
import numpy as np, tensorflow as tf, tensorflow_transform as tft
from etils import epath
from tensorflow.python.framework import config as framework

features, model, devices, transform_output, directory, wav = sys.argv[1:]
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * int(devices)
)
real = tf.config.list_logical_devices
posing = lambda kind=None: real("CPU") if kind == "GPU" else real(kind)
tf.config.list_logical_devices = framework.list_logical_devices = posing

from components.audio.config import FeatureConfig
from components.audio.representations import feature_shape, represent, representation_of
from components.store.model_card import ModelCard
from components.audio.waveform import decode_wavs
from models.config import ModelConfig, TrainConfig
from models.fitting import batches, head
from models.fitting.batches import Clips
from models.serving import GenreModel, clip_probabilities, export
from models.fitting.training import fit

features, model = FeatureConfig.model_validate_json(features), ModelConfig.model_validate_json(model)
wav = epath.Path(wav).read_bytes()
dtype = representation_of(features).dtype.as_numpy_dtype
entries = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (12, *feature_shape(features)), dtype)
labels = np.arange(12) % 3
clips = Clips.of(entries, labels, np.arange(12))
batches.LEAST_STEPS, head.DROPOUT = 1, 0.0
# All clips as one batch: under a strategy Keras takes a pass of the data more, and shuffled batches would differ.
config = TrainConfig(epochs=3, batch_size=12, learning_rate=1e-3, augment="off")
network, history = fit(clips, clips, model, features, config, directory + "/logs", directory + "/checkpoints")
card = ModelCard(
    kind=model.kind, parameters=network.count_params(), window_seconds=model.window_seconds, features=features
)
transform = tft.TFTransformOutput(transform_output).transform_features_layer().call
export(GenreModel(network, transform, features), card, directory + "/model")
stored = represent(decode_wavs(tf.constant([wav]), features.audio), features)
print(json.dumps({"history": history, "probabilities": clip_probabilities(network, stored, features).numpy().tolist()}))
"""
# Dropout draws on every device by itself: without it, nothing but rounding sets the two apart.
DISTRIBUTED = {
    "mel_cnn": {"filters": [4], "dropout": 0.0},
    "yamnet": {"weights": None, "fine_tune_blocks": 1, "fine_tune_epochs": 2},
}


@pytest.mark.long
@pytest.mark.parametrize("kind", DISTRIBUTED)
def test_two_devices_train_as_one_does(
    kind: str, transform: Callable, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same losses with the same global batch; and the export of mirrored weights answers on one device."""
    directory = tmp_path_factory.mktemp("mirrored")
    features = FEATURES.model_copy(update={"representation": KINDS[kind].representation})
    pcm = np.random.default_rng(1).integers(-9000, 9000, features.audio.clip_samples).astype(np.int16)
    wav = directory / "clip.wav"
    wav.write_bytes(encode_wav(pcm, features.audio.sample_rate))
    _, transform_output = transform(features, [wav.read_bytes()], [b"a"])
    model = ModelConfig(kind=kind, window_seconds=features.audio.clip_seconds, options=DISTRIBUTED[kind])

    def fit_on(devices: int) -> dict:
        base = [features.model_dump_json(), model.model_dump_json(), str(devices), str(transform_output)]
        command = [sys.executable, "-c", FIT, *base, str(directory / str(devices)), str(wav)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    one, two = fit_on(1), fit_on(2)
    assert one["history"]["strategy"] == "one GPU"
    assert two["history"]["strategy"] == "2 GPUs, mirrored"
    figures = {name for epoch in one["history"]["epochs"] for name in epoch if name.endswith("loss")}
    assert figures == {"loss", "val_loss"}
    for name in figures:
        losses = ([epoch[name] for epoch in run["history"]["epochs"]] for run in (one, two))
        np.testing.assert_allclose(*losses, rtol=1e-4)
    served = tf.saved_model.load(str(directory / "2" / "model"))
    answer = served.signatures["audio"](audio=tf.constant([wav.read_bytes()]))
    np.testing.assert_allclose(answer["probabilities"], two["probabilities"], atol=1e-5)
