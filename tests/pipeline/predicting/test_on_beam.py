"""Songs named by a Beam pipeline: the same answers as one after the other, and shards that are made once."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from etils import epath
from pyarrow import parquet

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.base.errors import UserError
from components.beam.config import BeamConfig
from components.beam.options import beam_args
from components.store.answers import SongGenres
from components.store.checksums import write_checksums
from components.store.predictor import Predictor
from pipeline.predicting import on_beam
from pipeline.predicting.on_beam import Asked, Outcome, name_songs

RATE = 8000
GENRES = ("Folk", "Jazz", "Rock")
RUNNERS = {
    "one thread": BeamConfig(mode="in_memory"),
    "threads": BeamConfig(mode="multi_threading", workers=2),
}


@pytest.fixture(scope="module")
def model(export_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Clips of 2 s with two windows."""
    audio = AudioConfig(sample_rate=RATE, clip_seconds=2.0)
    features = FeatureConfig(representation="waveform", genres=GENRES, audio=audio, mel=MelConfig())
    return str(export_model(tmp_path_factory.mktemp("model") / "3", features, 1.0))


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Twelve songs of 1 to 5 s, silence, what is no song but is called so, and what is hidden; in odd folders."""
    root = tmp_path / ".music" / "a [live] set"
    (root / "disc 1").mkdir(parents=True)
    (root / ".trash").mkdir()
    (root / "@eaDir").mkdir()
    generator = np.random.default_rng(0)
    for number in range(12):
        samples = generator.normal(size=RATE * (1 + number % 5)) * 0.1
        soundfile.write(root / ("disc 1" if number % 2 else ".") / f"{number:02d}.wav", samples, RATE)
    soundfile.write(root / "silence.flac", np.zeros(3 * RATE), RATE)
    (root / "broken.mp3").write_text("no song")
    (root / "cover.jpg").write_text("no song")
    for passed_over in (".trash", "@eaDir"):
        shutil.copy(root / "00.wav", root / passed_over / "old.wav")
    return root


def asked(model: str, **options: Any) -> Asked:
    return Asked(model=model, version=3, shards=3, **options)


def rows(output: Path, kind: str = "part") -> dict[str, dict[str, Any]]:
    listed = [row for file in output.glob(f"{kind}-*.parquet") for row in parquet.read_table(file).to_pylist()]
    for each in [*listed, *(part for row in listed for part in row.get("segments") or ())]:
        if "genres" in each:
            each["genres"] = dict(each["genres"])
    return {row["path"]: row for row in listed}


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_answers_are_those_of_one_after_the_other(model: str, songs: Path, tmp_path: Path, runner: str) -> None:
    output, wanted = tmp_path / "out", asked(model, segments=True, hop=0.5, embed=True)
    outcome = name_songs(str(songs), str(output), wanted, beam_args(RUNNERS[runner]))
    assert (outcome.songs, outcome.rejects, outcome.shards) == (13, 1, 3)
    assert Outcome.model_validate_json((output / "summary.json").read_text()) == outcome
    assert rows(output, "rejects").keys() == {str(songs / "broken.mp3")}
    assert "broken" not in rows(output, "rejects")[str(songs / "broken.mp3")]["reason"]
    files = [
        path
        for path in sorted(songs.rglob("*"))
        if path.suffix in (".wav", ".flac") and not {".trash", "@eaDir"} & {*path.parts}
    ]
    predictor, found = Predictor(epath.Path(model)), rows(output)
    assert found.keys() == {str(path) for path in files}
    embeddings = predictor.embed_all(files)
    for path, answer, embedding in zip(files, predictor.predict_all(files, True, 0.5), embeddings, strict=True):
        row = found[str(path)]
        assert isinstance(answer, SongGenres)
        assert row["genres"] == pytest.approx(answer.probabilities, abs=1e-6)
        assert row["genre"] == next(iter(answer.probabilities), None)
        assert row["probability"] == pytest.approx(max(answer.probabilities.values(), default=None), abs=1e-6)
        assert row["version"] == 3
        np.testing.assert_allclose(row["embedding"], embedding, atol=1e-6)
        assert [(each["start"], each["end"]) for each in row["segments"]] == [
            (each.start, each.end) for each in answer.segments
        ]
        for part, segment in zip(row["segments"], answer.segments, strict=True):
            assert part["genres"] == pytest.approx(segment.probabilities, abs=1e-6)
    assert found[str(songs / "silence.flac")]["genre"] is None


def made(output: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in output.glob("*.parquet")}


def test_only_what_is_missing_is_made(model: str, songs: Path, tmp_path: Path) -> None:
    output, args = tmp_path / "out", beam_args(RUNNERS["threads"])
    first = name_songs(f"{tmp_path}/.music/**", str(output), asked(model), args)
    before = made(output)
    assert len(before) == 6
    lost = sorted(output.glob("part-*"))[1]
    lost.unlink()  # as by a worker that was killed before its last step
    again = name_songs(f"{tmp_path}/.music/**", str(output), asked(model), args)
    assert again.model_copy(update={"run": first.run}) == first
    after = made(output)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {
        lost.name,
        lost.name.replace("part", "rejects"),
    }
    # A song more changes its shard, and leaves the others as they are.
    shutil.copy(songs / "00.wav", songs / "new.wav")
    more = name_songs(f"{tmp_path}/.music/**", str(output), asked(model), args)
    assert more.songs == first.songs + 1
    assert len(rows(output)) == more.songs
    assert len(made(output)) == 6
    assert len(made(output).keys() & after.keys()) == 4
    # What another option asks for is made anew, and takes the place of what was there.
    name_songs(f"{tmp_path}/.music/**", str(output), asked(model, segments=True), args)
    assert not made(output).keys() & after.keys()
    assert all(row["segments"] is not None for row in rows(output).values())


def test_what_the_storage_does_not_give_is_no_reject(
    model: str, songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(path: str) -> Path | OSError:
        return OSError(5, "Input/output error", path) if path.endswith("03.wav") else Path(path)

    output, args = tmp_path / "out", beam_args(RUNNERS["threads"])
    with monkeypatch.context() as patched:
        patched.setattr(on_beam, "_fetched", fetch)
        with pytest.raises(UserError, match=r"03\.wav: cannot be read now: EIO \(Input/output error\)\nGive the same"):
            name_songs(str(songs), str(output), asked(model), args)
    assert len(list(output.glob("part-*"))) == 2
    assert name_songs(str(songs), str(output), asked(model), args).songs == 13


def test_a_model_or_a_place_that_will_not_do_is_told_in_words(
    model: str, songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = beam_args(RUNNERS["threads"])
    broken = shutil.copytree(model, tmp_path / "3")
    write_checksums(epath.Path(broken))
    (broken / "saved_model.pb").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"saved_model\.pb: damaged: it is not what was pushed\. Serve an earlier"
    ) as told:
        name_songs(str(songs), str(tmp_path / "out"), asked(str(broken)), args)
    assert str(told.value).count("saved_model.pb") == 1, "once, and not for every shard"
    assert not list((tmp_path / "out").glob("part-*"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"-o .*file: no directory that can be written: EEXIST"):
        name_songs(str(songs), str(tmp_path / "file"), asked(model), args)

    def full(content: bytes, target: str) -> None:
        if "part-" in target:
            raise OSError(28, "No space left on device", target)
        put(content, target)

    put = on_beam._put
    monkeypatch.setattr(on_beam, "_put", full)
    with pytest.raises(UserError, match=r"out: cannot be written: ENOSPC \(No space left on device\)"):
        name_songs(str(songs), str(tmp_path / "out"), asked(model), args)


def test_nothing_to_name(model: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no audio files there"):
        name_songs(str(tmp_path), str(tmp_path / "out"), asked(model), [])
    with pytest.raises(UserError, match="the storage cannot be used"):
        name_songs("nowhere://bucket/**", str(tmp_path / "out"), asked(model), [])


@pytest.mark.long
def test_songs_and_answers_in_a_bucket(
    model: str, songs: Path, tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage)
    client = Client(project="p", credentials=AnonymousCredentials())
    bucket = client.create_bucket("music")
    for path in songs.rglob("*.*"):
        if path.is_file():
            bucket.blob(f"songs/{path.relative_to(songs)}").upload_from_filename(str(path))
    args = beam_args(RUNNERS["threads"])
    outcome = name_songs("gs://music/songs/**", "gs://music/out", asked(model), args)
    assert (outcome.songs, outcome.rejects) == (13, 1)
    blobs = {blob.name: blob for blob in client.list_blobs("music", prefix="out/")}
    assert len(blobs) == 7
    (tmp_path / "copy").mkdir()
    for name, blob in blobs.items():
        blob.download_to_filename(str(tmp_path / "copy" / Path(name).name))
    name_songs(str(songs), str(tmp_path / "here"), asked(model), args)
    there, here = rows(tmp_path / "copy"), rows(tmp_path / "here")
    assert {path.removeprefix("gs://music/songs/"): row["genres"] for path, row in there.items()} == {
        str(Path(path).relative_to(songs)): row["genres"] for path, row in here.items()
    }
    again = name_songs("gs://music/songs/**", "gs://music/out", asked(model), args)
    assert again.songs == 13
    for blob in client.list_blobs("music", prefix="out/part-"):
        assert blob.generation == blobs[blob.name].generation
