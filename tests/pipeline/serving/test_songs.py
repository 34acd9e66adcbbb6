"""`POST /predict`: the answers of the predictor, a picture that shows the song, and reasons."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from etils import epath

from components.store.predictor import Predictor


def test_the_answers_are_the_predictor_s(server: Any, exported: tuple[Path, Path], wav: Any, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(wav(7.3))
    predictor = Predictor(epath.Path(exported[0]))
    for hop in (None, 0.25):
        query = {} if hop is None else {"hop": hop}
        answered = server.predict(song.read_bytes(), **query)
        assert answered.status_code == 200, answered.text
        answer = answered.json()
        assert answer.keys() == {"genres", "segments", "clips", "version", "seconds"}
        assert answer["version"] == 1
        expected = next(predictor.predict_all([song], segments=True, hop=hop))
        assert answer["genres"] == pytest.approx(expected.probabilities, abs=1e-6)
        assert list(answer["genres"].values()) == sorted(answer["genres"].values(), reverse=True)
        for got, want in zip(answer["segments"], expected.segments, strict=True):
            assert (got["start"], got["end"]) == (want.start, want.end)
            assert got["genres"] == pytest.approx(want.probabilities, abs=1e-6)


def test_silence_has_no_genre(server: Any) -> None:
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(16000, np.int16), 8000, format="WAV")
    answer = server.predict(silence.getvalue(), picture=True).json()
    assert (answer["genres"], answer["reason"]) == ({}, "silent")
    assert set(base64.b64decode(answer["picture"]["peaks"])) == {0}


def test_the_picture_shows_the_song(server: Any) -> None:
    """A note that rises at half time: loud then soft, low then high."""
    time = np.arange(32000) / 8000
    note = np.where(time < 2.0, 0.8 * np.sin(2 * np.pi * 300 * time), 0.2 * np.sin(2 * np.pi * 3000 * time))
    file = io.BytesIO()
    soundfile.write(file, note, 8000, format="FLAC")
    picture = server.predict(file.getvalue(), "note.flac", picture=True).json()["picture"]
    assert picture["seconds"] == 4.0
    peaks = np.frombuffer(base64.b64decode(picture["peaks"]), np.uint8) / 255
    mel = np.frombuffer(base64.b64decode(picture["mel"]), np.uint8).reshape(picture["columns"], picture["bands"])
    quarters = np.array_split(np.arange(picture["columns"]), 4)
    np.testing.assert_allclose([peaks[each].mean() for each in quarters], [0.8, 0.8, 0.2, 0.2], atol=0.02)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), picture["bands"] + 2) / 2595) - 1)
    for quarter, hertz in ((quarters[0], 300), (quarters[3], 3000)):
        loudest = np.bincount(mel[quarter].argmax(axis=1)).argmax()
        assert edges[loudest] < hertz < edges[loudest + 2]
    assert mel.max() == 255


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"dear diary\n" * 100, "not one of the formats that are read (it is text)"),
        (b"", "an empty file"),
        (bytes(5000), "zeros in place of a header"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(server: Any, data: bytes, told: str) -> None:
    answered = server.predict(data, "song.mp3")
    assert (answered.status_code, answered.json()) == (422, {"error": told})


def test_what_a_request_lacks(server: Any, wav: Any) -> None:
    told = server.client.post("/predict", data={"other": "x"})
    assert (told.status_code, told.json()["error"]) == (422, "file: Field required")
    told = server.predict(wav(1.0), hop=0.0)
    assert told.status_code == 422
    assert "hop" in told.json()["error"]
    assert server.client.get("/predict").status_code == 405


def test_what_operators_ask(server: Any) -> None:
    assert server.client.get("/healthz").json() == {"status": "alive"}
    assert server.client.get("/readyz").json() == {"status": "ready", "version": 1}
    described = server.client.get("/openapi.json").json()
    assert described["paths"].keys() >= {"/predict", "/v1/models/genre:predict", "/readyz", "/metrics"}
    assert "multipart/form-data" in described["paths"]["/predict"]["post"]["requestBody"]["content"]
    lines = server.client.get("/metrics").text
    assert 'genre_request_seconds_count{method="GET",path="/readyz",status="200"}' in lines
    for made_up in ("BREW", "x" * 100):
        assert server.client.request(made_up, "/readyz").status_code == 405
    text = server.client.get("/metrics").text
    assert 'method="other"' in text
    assert "BREW" not in text
    assert "xxx" not in text
    model = server.client.get("/model").json()
    assert (model["version"], model["kind"], model["genres"]) == (1, "mel_cnn", ["clicks", "noise", "tone"])


def test_what_is_known_of_a_model_is_told_without_asking_it(
    serve: Any, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor its files: the loop that takes requests must not wait for either."""
    server = serve(store)

    def ask(*_: object) -> None:
        raise AssertionError("it was asked")

    with server.follower.model() as model:
        monkeypatch.setattr(model.runtime, "ask", ask)
        (store / "1" / "saved_model.pb").rename(store / "moved")
        assert server.client.get("/model").json()["window_seconds"] == 0.512
        assert server.client.get("/readyz").json()["version"] == 1
        assert "audio" in str(server.client.get("/v1/models/genre/metadata").json())
