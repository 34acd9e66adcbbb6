"""Whole ingests: of real libraries, of broken ones, killed, repeated, and on different workers."""

import contextlib
import csv
import errno
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.io.wavfile
import soundfile
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.audio.config import AudioConfig
from components.audio.decoding import decode_clip
from components.audio.wav import encode_wav
from components.base.errors import UserError
from components.beam.config import BeamConfig
from components.beam.options import beam_args
from components.library.config import IngestConfig
from components.library.ingest import ingest
from components.library.layout import SPLITS, complete_spans, read_library, read_manifest
from components.library.shards import Shard, write_shard
from components.library.sources.folder import read_folder
from components.library.sources.track import Track
from components.library.tfrecords import encode_example, read_records, write_record
from pipeline.cli import cli

RATE = 4000
AUDIO = AudioConfig(sample_rate=RATE, clip_seconds=0.5)
CONFIG = IngestConfig(min_seconds=0.1)
IN_MEMORY = beam_args(BeamConfig(mode="in_memory", workers=1))
SPLIT_OF = ("train", "train", "eval", "test")

# What the command needs to hear for libraries as small as these.
SMALL = [
    *("--set", f"audio.sample_rate={RATE}", "--set", "audio.clip_seconds=0.5", "--set", "ingest.min_seconds=0.1"),
    *("--set", "beam.mode=in_memory"),
]


def song(path, seed, seconds=0.5, level=9000):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).integers(-level, level + 1, round(seconds * RATE), dtype=np.int16)
    path.write_bytes(encode_wav(samples, RATE))


def library(root, songs=24):
    """A folder of `songs` songs of two genres, two per artist, and its tracks: half of the artists are for training."""
    for i in range(songs):
        song(root / ("rock", "jazz")[i % 2] / f"artist {i // 2}" / f"{i:04d}.wav", seed=i)
    return [replace(track, split=SPLIT_OF[int(track.group.split()[1]) % 4]) for track in read_folder(root)]


def ingested(tracks, audio_root, root, **changes):
    settings = {"audio": AUDIO, "config": CONFIG, "beam_args": IN_MEMORY, "data_set": "test", "clips_per_shard": 4}
    return ingest(tracks, audio_root, root=root, **settings | changes)


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def rows(file):
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def rejects(span):
    return {row["path"]: row["reason"] for row in rows(span / "rejects.csv")}


def content(root):
    """Hash of every file that equal inputs promise to give the same bytes of."""
    promised = [path for path in root.rglob("*") if path.is_file() and path.name not in (".lock", "source.json")]
    promised = [path for path in promised if path.name != "ingest.log"]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in promised}


def examples(span):
    """Every record of `span`, read by TensorFlow: its split's directory and its features."""
    import tensorflow as tf

    for split in SPLITS:
        for file in sorted((span / split).iterdir()):
            for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
                features = tf.train.Example.FromString(record).features.feature
                values = {name: getattr(f, f.WhichOneof("kind")).value for name, f in features.items()}
                assert all(len(value) == 1 for value in values.values())
                yield split, {name: value[0] for name, value in values.items()}


@pytest.fixture
def genre(capfd):
    """Runs `genre ingest` in this process; returns what it prints, below its file descriptors."""

    def run(*args):
        cli(["ingest", *map(str, args)], standalone_mode=False)
        return capfd.readouterr().out

    return run


# --- Records -------------------------------------------------------------------------------------------------------


def test_examples_are_tensorflows():
    import tensorflow as tf

    features = {"a": b"\0\xff" * 300, "b": "é".encode(), "c": -1.5, "d": 3, "e": -(2**63), "f": 2**63 - 1, "g": b""}
    example = tf.train.Example.FromString(encode_example(features))
    read = {name: getattr(f, f.WhichOneof("kind")).value[0] for name, f in example.features.feature.items()}
    assert read == features
    assert example.SerializeToString(deterministic=True) == encode_example(dict(reversed(features.items())))


def test_record_files_are_tensorflows(tmp_path):
    import tensorflow as tf

    data = [b"", b"x", os.urandom(100_000)]
    with (tmp_path / "ours").open("wb") as file:
        for item in data:
            write_record(file, item)
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for item in data:
            writer.write(item)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    with (tmp_path / "theirs").open("rb") as file:
        assert list(read_records(file)) == data


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:20] + b"?" + data[21:], lambda data: b"?"]
)
def test_damaged_records_are_noticed(tmp_path, damage):
    file = tmp_path / "a"
    with file.open("wb") as out:
        write_record(out, b"some record")
    file.write_bytes(damage(file.read_bytes()))
    with file.open("rb") as damaged, pytest.raises(ValueError, match="damaged"):
        list(read_records(damaged))


# --- What is written -----------------------------------------------------------------------------------------------


def test_a_span(tmp_path):
    tracks = library(tmp_path / "songs")
    result = ingested(tracks, tmp_path / "songs", tmp_path / "data")
    span = tmp_path / "data" / "span-1"
    assert result.directory == span and complete_spans(tmp_path / "data") == [1]
    manifest = read_manifest(tmp_path / "data", 1)
    assert manifest == result.manifest
    assert {split: count.clips for split, count in manifest.splits.items()} == {"train": 12, "eval": 6, "test": 6}
    assert manifest.input_files == 24 and manifest.rejects == {}
    assert read_library(tmp_path / "data").genres == ("jazz", "rock")
    names = [str(path.relative_to(span)) for path in sorted((span / "train").iterdir())]
    assert names == [f"train/part-0000{i}-of-00003.tfrecord" for i in range(3)]
    by_id = {track.track_id: track for track in tracks}
    seen = []
    for split, example in examples(span):
        track = by_id[example["track_id"].decode()]
        seen.append(track.track_id)
        assert split == track.split == example["split"].decode()
        assert (example["genre"].decode(), example["artist"].decode()) == (track.genre, track.group)
        assert example["audio"] == (tmp_path / "songs" / track.path).read_bytes()  # PCM16 of that rate and length
        clip = decode_clip(tmp_path / "songs" / track.path, AUDIO)
        for name in ("duration_seconds", "rms_dbfs", "peak_dbfs", "silence_ratio", "clipping_ratio"):
            assert example[name] == pytest.approx(getattr(clip, name), abs=1e-3)
        assert (example["source_rate"], example["source_channels"]) == (RATE, 1)
    assert sorted(seen) == sorted(by_id)


def test_the_manifest_tells_of_what_and_by_what_the_span_was_made(tmp_path):
    songs, root = tmp_path / "songs", tmp_path / "data"
    tracks = library(songs)
    # One clip twice, so that one shard is written anew without it; the others are taken as the workers left them.
    (songs / tracks[3].path).write_bytes((songs / tracks[2].path).read_bytes())
    manifest = ingested(tracks, songs, root).manifest
    assert manifest.genres == ("jazz", "rock")
    assert manifest.schema_digest == hashlib.sha256((root / "schema.pbtxt").read_bytes()).hexdigest()[:16]
    hashes = content(root / "span-1")
    del hashes["manifest.json"]
    assert len(hashes) == 12 and manifest.rejects == {"duplicate": 1}
    assert {name: file.sha256 for name, file in manifest.files.items()} == hashes
    assert list(manifest.files) == sorted(manifest.files)
    records = {}
    for name, file in manifest.files.items():
        assert file.bytes == (root / "span-1" / name).stat().st_size
        if name.endswith(".csv"):
            assert file.records == len(rows(root / "span-1" / name))
        else:
            with (root / "span-1" / name).open("rb") as shard:
                assert file.records == len(list(read_records(shard)))
            records[name.partition("/")[0]] = records.get(name.partition("/")[0], 0) + file.records
    assert records == {split: count.clips for split, count in manifest.splits.items()}

    (root / "schema.pbtxt").write_text((root / "schema.pbtxt").read_text() + "# reviewed\n")
    later = ingested(library(songs, songs=48), songs, root).manifest
    assert later.schema_digest == hashlib.sha256((root / "schema.pbtxt").read_bytes()).hexdigest()[:16]
    assert later.schema_digest != manifest.schema_digest


def test_the_schema_describes_the_examples(tmp_path):
    ingested(library(tmp_path / "songs"), tmp_path / "songs", tmp_path / "data")
    schema = text_format.Parse((tmp_path / "data" / "schema.pbtxt").read_text(), schema_pb2.Schema())
    types = {schema_pb2.BYTES: bytes, schema_pb2.FLOAT: float, schema_pb2.INT: int}
    expected = {feature.name: types[feature.type] for feature in schema.feature}
    _, example = next(examples(tmp_path / "data" / "span-1"))
    assert {name: type(value) for name, value in example.items()} == expected
    domains = {domain.name: list(domain.value) for domain in schema.string_domain}
    assert domains == {"genre": ["jazz", "rock"], "split": list(SPLITS)}
    for feature in schema.feature:
        assert (feature.presence.min_fraction, feature.presence.min_count) == (1, 1)
        assert [dim.size for dim in feature.shape.dim] == [1]
        domain = getattr(feature, feature.WhichOneof("domain_info") or "", None)
        if feature.type != schema_pb2.BYTES:
            assert domain.min <= example[feature.name] <= domain.max
    assert next(f for f in schema.feature if f.name == "audio").HasField("image_domain")


def test_nothing_tells_of_this_machine(tmp_path):
    ingested(library(tmp_path / "songs"), tmp_path / "songs", tmp_path / "data")
    for path in tmp_path.joinpath("data").rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes(), path


def test_groups_are_never_divided(tmp_path):
    library(tmp_path / "songs", songs=80)
    ingested(read_folder(tmp_path / "songs"), tmp_path / "songs", tmp_path / "data")
    splits = {}
    for split, example in examples(tmp_path / "data" / "span-1"):
        splits.setdefault(example["artist"], set()).add(split)
    assert len(splits) == 40 and all(len(found) == 1 for found in splits.values())


# --- Rejects -------------------------------------------------------------------------------------------------------


def test_every_file_is_accounted_for(tmp_path):
    songs = tmp_path / "songs"
    library(songs, songs=80)
    song(songs / "rock" / "short.wav", seed=1000, seconds=0.05)
    song(songs / "rock" / "quiet.wav", seed=1001, level=20)
    (songs / "rock" / "broken.mp3").write_bytes(b"ID3" * 50)
    (songs / "rock" / "words.m4a").write_bytes(b"none of our formats")
    (songs / "rock" / "cover.jpg").write_bytes(b"")
    os.mkfifo(songs / "rock" / "pipe.wav")
    song(songs / "lost.wav", seed=1002)
    (songs / "rock" / "zz copy.wav").write_bytes((songs / "rock" / "artist 0" / "0000.wav").read_bytes())
    (songs / "jazz" / "zz copy.wav").write_bytes((songs / "rock" / "artist 0" / "0000.wav").read_bytes())
    result = ingested(read_folder(songs), songs, tmp_path / "data")
    reasons = rejects(result.directory)
    first = "jazz/zz copy.wav"
    assert {path: reason.partition(" (")[0].partition(",")[0] for path, reason in reasons.items()} == {
        "rock/short.wav": "too short: 0.05 s",
        "rock/quiet.wav": "silent: its peak is -64.3 dBFS",
        "rock/broken.mp3": reasons["rock/broken.mp3"].partition(" (")[0],
        "rock/words.m4a": "unreadable: not one of the formats that are read",
        "rock/pipe.wav": "unreadable: a named pipe",
        "lost.wav": "unknown genre: it is outside of any genre's folder",
        "rock/artist 0/0000.wav": f"duplicate of {first}",
        "rock/zz copy.wav": f"duplicate of {first}",
    }
    assert reasons["rock/broken.mp3"].startswith("unreadable: ")
    assert "of genre jazz" in reasons["rock/zz copy.wav"]
    where = {row["track_id"]: row["split"] for row in rows(result.directory / "tracks.csv")}
    files = {str(path.relative_to(songs)) for path in songs.rglob("*") if not path.is_dir()}
    assert rows(result.directory / "left-out.csv") == [{"path": "rock/cover.jpg", "reason": "not audio"}]
    assert {*reasons, *where, "rock/cover.jpg"} == files and not {*reasons} & {*where}
    assert result.manifest.input_files == len(files) - 1 == len(where) + sum(result.manifest.rejects.values())
    assert sorted(example["track_id"].decode() for _, example in examples(result.directory)) == sorted(where)


def test_too_many_rejects(tmp_path):
    songs = tmp_path / "songs"
    tracks = library(songs)
    for track in tracks[:6]:
        (songs / track.path).write_bytes(b"broken")
    message = r"6 of 24 files.*share of 0.1.*6 unreadable, such as .*max_reject_share=0.26.*span-1/rejects.csv"
    with pytest.raises(UserError, match=f"(?s){message}"):
        ingested(tracks, songs, tmp_path / "data")
    assert complete_spans(tmp_path / "data") == []
    assert len(rows(tmp_path / "data" / ".staging" / "span-1" / "rejects.csv")) == 6
    again = ingested(tracks, songs, tmp_path / "data", config=CONFIG.model_copy(update={"max_reject_share": 0.26}))
    assert again.resumed == again.shards and again.manifest.rejects == {"unreadable": 6}
    assert not (tmp_path / "data" / ".staging").exists()


@pytest.mark.parametrize("suffix", ["seal", "jsonl", "tfrecord"])
@pytest.mark.parametrize("harm", [os.unlink, lambda file: file.write_bytes(b""), lambda file: flip(file)])
def test_a_staged_shard_that_is_not_whole_is_made_again(tmp_path, suffix, harm):
    songs, staging = tmp_path / "songs", tmp_path / "data" / ".staging" / "span-1" / "shards"
    tracks = library(songs)
    (songs / tracks[0].path).write_bytes(b"broken")
    with pytest.raises(UserError, match="1 of 24 files"):
        ingested(tracks, songs, tmp_path / "data", config=CONFIG.model_copy(update={"max_reject_share": 0.0}))
    harm(min(staging.glob(f"*.{suffix}")))
    again = ingested(tracks, songs, tmp_path / "data")
    assert again.resumed == again.shards - 1
    whole = ingested(tracks, songs, tmp_path / "whole")
    assert content(tmp_path / "data") == content(tmp_path / "whole") and whole.resumed == 0


def test_what_is_not_audio_does_not_count(tmp_path):
    songs = tmp_path / "songs"
    tracks = library(songs)
    for i in range(50):
        (songs / "rock" / f"notes {i}.txt").touch()
    notes = [track for track in read_folder(songs) if track.path.endswith(".txt")]
    result = ingested([*tracks, *notes], songs, tmp_path / "data")
    assert (result.manifest.rejects, result.manifest.left_out) == ({}, {"not audio": 50})
    assert result.manifest.input_files == 24
    assert ingested([*tracks, *notes[1:]], songs, tmp_path / "data").existed, "notes make no other library"


def test_missing_files_fail_before_anything_is_decoded(tmp_path):
    tracks = library(tmp_path / "songs")
    with pytest.raises(UserError, match="24 missing file"):
        ingested(tracks, tmp_path, tmp_path / "data")
    assert not (tmp_path / "data" / ".staging" / "span-1" / "shards").exists()


# --- Libraries that cannot be used ---------------------------------------------------------------------------------


def test_one_genre(tmp_path):
    tracks = [track for track in library(tmp_path / "songs") if track.genre == "rock"]
    with pytest.raises(UserError, match="Only one genre, 'rock'"):
        ingested(tracks, tmp_path / "songs", tmp_path / "data")


def test_an_empty_split(tmp_path):
    tracks = [track for track in library(tmp_path / "songs") if track.split != "eval"]
    with pytest.raises(UserError, match=r"No example in split eval: 9 groups .* three artists"):
        ingested(tracks, tmp_path / "songs", tmp_path / "data")


def test_a_group_in_two_splits(tmp_path):
    tracks = [Track("a", "a", "rock", "Bob", "train", where="x.csv, line 2"), Track("b", "b", "rock", "Bob", "test")]
    with pytest.raises(UserError, match=r"b: group 'Bob' is in split test, but in train in x.csv, line 2 \(a\)"):
        ingested(tracks, tmp_path, tmp_path / "data")


def test_too_little_room(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(UserError, match="are free"):
        ingested(library(tmp_path / "songs"), tmp_path / "songs", tmp_path / "data")


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_a_disk_that_fills_up(tmp_path, monkeypatch, mode):
    def full(file, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("components.library.tfrecords.write_record", full)
    args = beam_args(BeamConfig(mode=mode, workers=1))
    with pytest.raises(UserError, match="The disk is full"):
        ingested(library(tmp_path / "songs"), tmp_path / "songs", tmp_path / "data", beam_args=args)
    monkeypatch.undo()
    assert ingested(library(tmp_path / "songs"), tmp_path / "songs", tmp_path / "data").shards == 7


# --- Again, and more -----------------------------------------------------------------------------------------------


def test_the_same_input_again_is_nothing_to_do(tmp_path):
    tracks = library(tmp_path / "songs")
    ingested(tracks, tmp_path / "songs", tmp_path / "data")
    before = content(tmp_path / "data")
    for span in (None, 1):
        again = ingested(tracks, tmp_path / "songs", tmp_path / "data", span=span)
        assert again.existed and again.directory.name == "span-1"
    assert content(tmp_path / "data") == before
    song(tmp_path / "songs" / "rock" / "artist 0" / "0000.wav", seed=77)
    with pytest.raises(UserError, match=r"span 1 exists and holds something else.*add span 2"):
        ingested(tracks, tmp_path / "songs", tmp_path / "data", span=1)


def test_a_second_span(tmp_path):
    songs, root = tmp_path / "songs", tmp_path / "data"
    ingested(library(songs), songs, root)
    first = content(root)
    more = library(songs, songs=40)
    song(songs / "polka" / "a.wav", seed=500)
    more.append(Track("polka/a.wav", "polka/a.wav", "polka", "Ann", "train"))
    result = ingested(more, songs, root)
    assert result.directory.name == "span-2" and result.genres == ("jazz", "rock")
    assert result.manifest.rejects == {"already ingested": 24, "unknown genre": 1}
    reasons = rejects(result.directory)
    assert reasons["polka/a.wav"] == (
        "unknown genre: 'polka' is no genre of this library; to add it: genre classes add polka"
    )
    copy = more[0].path
    assert reasons[copy] == f"already ingested: duplicate of {copy} in span 1"
    assert first.items() <= content(root).items()
    with pytest.raises(UserError, match="Nothing new"):
        ingested(more[:24], songs, root, config=CONFIG.model_copy(update={"min_seconds": 0.2}))


def test_small_arrivals_become_spans(tmp_path, genre):
    songs, root = tmp_path / "songs", tmp_path / "data"
    ingested(library(songs), songs, root)
    for i in range(3):
        song(tmp_path / "band" / "rock" / "new band" / f"{i}.wav", seed=900 + i)
    output = genre("folder", tmp_path / "band", *SMALL, "--data", root)
    assert [len(rows(root / f"span-{span}" / "tracks.csv")) for span in (1, 2)] == [24, 3]
    assert "span 2 has no" in output and "together with the span before it, and judges on the golden set" in output
    assert "warning: no" not in output, "of no genre does the library lack a clip"
    old = {row["artist"] for row in rows(root / "span-1" / "tracks.csv") if row["split"] == "train"}
    for i, artist in enumerate(sorted(old)):
        song(tmp_path / "known" / "jazz" / artist / "more.wav", seed=950 + i)
    output = genre("folder", tmp_path / "known", *SMALL, "--data", root)
    assert "span 3 has no eval and no test clips" in output
    assert not list((root / "span-3" / "test").iterdir())


def test_a_group_stays_in_its_split(tmp_path):
    songs, root = tmp_path / "songs", tmp_path / "data"
    ingested(library(songs), songs, root)
    old = {row["artist"]: row["split"] for row in rows(root / "span-1" / "tracks.csv")}
    for i, (artist, kind) in enumerate((artist, kind) for artist in old for kind in ("rock", "jazz")):
        song(tmp_path / "more" / kind / artist / "new.wav", seed=900 + i)
    result = ingested(read_folder(tmp_path / "more"), tmp_path / "more", root)
    assert {row["artist"]: row["split"] for row in rows(result.directory / "tracks.csv")} == old
    song(tmp_path / "third" / "rock" / "x.wav", seed=2000)
    moved = [Track("x", "rock/x.wav", "rock", "artist 0", "test")]
    with pytest.raises(UserError, match="group 'artist 0' is in split test, but in train in span 1"):
        ingested(moved, tmp_path / "third", root)


def test_another_audio_format(tmp_path):
    tracks = library(tmp_path / "songs")
    ingested(tracks, tmp_path / "songs", tmp_path / "data")
    with pytest.raises(UserError, match=r"audio.sample_rate: 8000 in the configuration, but 4000 in the library"):
        ingested(tracks, tmp_path / "songs", tmp_path / "data", audio=AudioConfig(sample_rate=8000, clip_seconds=0.5))


def test_only_one_ingest_at_a_time(tmp_path):
    import fcntl

    tracks = library(tmp_path / "songs")
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("1 on elsewhere")
        lock.flush()
        with pytest.raises(UserError, match="process 1 on elsewhere is writing to this library"):
            ingested(tracks, tmp_path / "songs", tmp_path / "data")


def test_an_unfinished_span_in_the_way(tmp_path):
    (tmp_path / "data" / "span-1" / "train").mkdir(parents=True)
    with pytest.raises(UserError, match="no complete span"):
        ingested(library(tmp_path / "songs"), tmp_path / "songs", tmp_path / "data")


# --- Workers, kills ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "workers"), [("multi_threading", 1), ("multi_threading", 2), ("multi_processing", 2)])
def test_the_same_bytes_on_any_workers(tmp_path, mode, workers):
    songs = tmp_path / "songs"
    tracks = library(songs, songs=40)
    (songs / tracks[3].path).write_bytes((songs / tracks[30].path).read_bytes())
    (songs / tracks[5].path).write_bytes(b"broken")
    ingested(tracks, songs, tmp_path / "a")
    done = []
    args = beam_args(BeamConfig(mode=mode, workers=workers))
    ingested(list(reversed(tracks)), songs, tmp_path / "b", beam_args=args, on_progress=lambda *now: done.append(now))
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert done[-1] == (40, 40) and sorted(done) == done


def test_a_killed_ingest_goes_on_where_it_was(tmp_path, genre):
    songs = tmp_path / "songs"
    library(songs, songs=400)
    command = [str(Path(sys.executable).with_name("genre")), "ingest", "folder", str(songs), *SMALL]

    root = tmp_path / "killed"
    process = subprocess.Popen([*command, "--data", root], start_new_session=True, stdout=subprocess.DEVNULL)
    shards = root / ".staging" / "span-1" / "shards"
    deadline = time.monotonic() + 600
    while len(list(shards.glob("*.seal"))) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert complete_spans(root) == [] and not (root / "library.json").exists()
    made = len(list(shards.glob("*.seal")))
    half = sorted(shards.glob("*.jsonl"))[0]
    (shards / "train-99999-0.tfrecord.1.partial").write_bytes(b"left over")
    half.with_suffix(".tfrecord").touch()  # its time is newer now, its content the same

    resumed = subprocess.run([*command, "--data", root], capture_output=True, text=True, check=True).stdout
    assert f"resumed: {made} of " in resumed
    genre("folder", songs, *SMALL, "--data", tmp_path / "whole")
    assert content(root) == content(tmp_path / "whole")
    assert not (root / ".staging").exists()


def test_two_attempts_at_a_shard_leave_one(tmp_path):
    """As of a runner that gives up on a slow worker too early; on two machines, they may have the same process id."""
    tracks = tuple(library(tmp_path / "songs", songs=4))
    shard = Shard("train-00000-0", "train", tracks)
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    settings = (tmp_path / "songs", AUDIO, CONFIG)
    for directory in (alone, shared):
        directory.mkdir()
    write_shard(alone, shard, *settings)

    def second(outcome):
        if len(list(shared.glob("*.jsonl*"))) == 1:  # in the middle of the first
            write_shard(shared, shard, *settings)

    write_shard(shared, shard, *settings, count=second)
    assert content(shared) == content(alone)

    def fails(outcome):
        raise RuntimeError("the worker is gone")

    with pytest.raises(RuntimeError):
        write_shard(shared, shard, *settings, count=fails)
    assert content(shared) == content(alone)


def test_an_interrupted_ingest_says_so(tmp_path):
    library(tmp_path / "songs", songs=400)
    command = [str(Path(sys.executable).with_name("genre")), "ingest", "folder", str(tmp_path / "songs"), *SMALL]
    command += ["--data", str(tmp_path / "data"), "--set", "beam.mode=multi_threading"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what is in the background with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("data/.staging/span-1/shards/*.jsonl")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130 and errors.strip() == "genre: interrupted; the same command continues from here"


# --- Real libraries ------------------------------------------------------------------------------------------------


def test_esc10(shared_data, tmp_path, genre):
    esc10 = shared_data / "esc10"
    columns = "--genre-column label --group-column source_recording --fold-column fold --test-fold 5 --eval-fold 4"
    settings = ["--set", "audio.clip_seconds=5.0", "--set", "audio.sample_rate=8000"]
    output = genre("csv", esc10 / "labels.csv", "--audio-root", esc10, *columns.split(), *settings, "--data", tmp_path)
    assert "400 of 400 files" in output
    manifest = read_manifest(tmp_path, 1)
    assert {split: count.clips for split, count in manifest.splits.items()} == {"train": 240, "eval": 80, "test": 80}
    assert len(read_library(tmp_path).genres) == 10
    assert all(set(count.genres.values()) == {count.clips // 10} for count in manifest.splits.values())
    groups = Counter()
    for split in SPLITS:
        groups.update({row["artist"] for row in rows(tmp_path / "span-1" / "tracks.csv") if row["split"] == split})
    assert max(groups.values()) == 1


def test_music(shared_data, tmp_path, genre):
    music = shared_data / "music"
    songs = sorted(str(p.relative_to(music)) for p in music.rglob("*") if p.suffix in (".ogg", ".mp3"))
    assert len(songs) == 19
    listed = "".join(f'"{path}",{"hip-hop" if "hiphop" in path else "other"}\n' for path in songs)
    (tmp_path / "songs.csv").write_text("path,genre\n" + listed)
    genre("csv", tmp_path / "songs.csv", "--audio-root", music, "--data", tmp_path / "data")
    written = {row["path"]: row for row in rows(tmp_path / "data" / "span-1" / "tracks.csv")}
    assert list(sorted(written)) == songs
    for path, row in written.items():
        info = soundfile.info(music / path)
        assert float(row["duration_seconds"]) == pytest.approx(info.duration, abs=0.1)
        assert (int(row["source_rate"]), int(row["source_channels"])) == (info.samplerate, info.channels)
    lengths = {len(example["audio"]) for _, example in examples(tmp_path / "data" / "span-1")}
    assert lengths == {44 + 2 * 30 * 22050}


def test_fma(shared_data, tmp_path, genre):
    """FMA's real table, with audio made for a hundred of its tracks."""
    from components.library.sources.fma import read_fma

    tracks = read_fma(tmp_path, shared_data / "fma_meta", "medium")
    for i, track in enumerate(tracks):
        samples = 0.3 * np.random.default_rng(i).standard_normal(RATE // 2).clip(-3, 3)
        (tmp_path / "audio" / track.path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "audio" / track.path, samples, RATE * 2, format="MP3")
    missing = tracks[7]
    (tmp_path / "audio" / missing.path).unlink()
    output = genre(
        "fma", "--audio", tmp_path / "audio", "--metadata", shared_data / "fma_meta", "--subset", "medium", *SMALL,
        "--data", tmp_path / "data",
    )  # fmt: skip
    assert "193 of 194 files" in output
    assert rejects(tmp_path / "data" / "span-1") == {missing.path: "missing file"}
    official = {t.track_id: (t.split, t.genre, t.group) for t in tracks if t is not missing}
    written = rows(tmp_path / "data" / "span-1" / "tracks.csv")
    assert {row["track_id"]: (row["split"], row["genre"], row["artist"]) for row in written} == official


def test_odd_audio_within_a_memory_limit(shared_data, tmp_path):
    """Every one of the odd files ends in one of the two lists, in a process that may not take much memory."""
    odd = shared_data / "odd_audio"
    command = [str(Path(sys.executable).with_name("genre")), "ingest", "folder", str(odd), "--data", str(tmp_path)]
    command += ["--set", "ingest.min_seconds=0", "--set", "ingest.max_reject_share=1", "--set", "beam.mode=in_memory"]

    def limit():
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))

    subprocess.run(command, check=True, capture_output=True, preexec_fn=limit, timeout=600)
    span = tmp_path / "span-1"
    files = {str(path.relative_to(odd)) for path in odd.rglob("*") if path.is_file()}
    examples_, rejected = {row["path"] for row in rows(span / "tracks.csv")}, rejects(span)
    left_out = {row["path"] for row in rows(span / "left-out.csv")}
    assert examples_ | set(rejected) | left_out == files and not examples_ & set(rejected)
    kinds = Counter(row["kind"] for row in rows(span / "rejects.csv"))
    assert dict(kinds) == read_manifest(tmp_path, 1).rejects
    assert set(kinds) == {"unreadable", "silent", "duplicate"}
    for path in files - set(rejected) - left_out:
        assert frames_of(odd / path) > 0, path
    for row in rows(span / "rejects.csv"):
        if row["kind"] == "unreadable":
            assert not frames_of(odd / row["path"]), row


def frames_of(path):
    """Returns the number of frames that libsndfile or FFmpeg finds in a file."""
    with contextlib.suppress(soundfile.LibsndfileError):
        return len(soundfile.read(path)[0])
    with contextlib.suppress(av.FFmpegError, IndexError), av.open(str(path)) as container:
        return sum(frame.samples for frame in container.decode(audio=0))
    return 0


def test_a_folder_and_a_list_of_it_give_the_same(tmp_path, genre):
    songs = tmp_path / "songs"
    library(songs, songs=80)
    listed = "".join(f"{t.path},{t.genre},{t.group}\n" for t in read_folder(songs))
    (tmp_path / "list.csv").write_text("path,genre,artist\n" + listed)
    genre("folder", songs, *SMALL, "--data", tmp_path / "a")
    options = ["--audio-root", songs, "--group-column", "artist", *SMALL]
    genre("csv", tmp_path / "list.csv", *options, "--data", tmp_path / "b")
    a, b = content(tmp_path / "a"), content(tmp_path / "b")
    assert a.keys() == b.keys()
    assert {name for name in a if a[name] != b[name]} == {"span-1/manifest.json"}  # which says where it came from


# --- The command ---------------------------------------------------------------------------------------------------


def test_the_command_accounts_for_all(tmp_path, genre):
    songs = tmp_path / "songs"
    library(songs, songs=80)
    (songs / "rock" / "cover.jpg").touch()
    song(songs / "polka" / "only.wav", seed=3000)
    output = genre("folder", songs, *SMALL, "--data", tmp_path / "data")
    assert "decoding: 81 of 81 files" in output
    assert "folder songs: 81 of 81 files are examples of span 1" in output
    assert "left out: 1 not audio" in output and "rejected" not in output
    for words in ("eval clip in any span, so not validated", "test clip in any span, so not tested"):
        assert f"warning: no {words}: polka" in output
    assert "already ingested as span 1" in genre("folder", songs, *SMALL, "--data", tmp_path / "data")


def test_a_span_is_verified_against_its_manifest(tmp_path, genre, capfd):
    root = tmp_path / "data"
    ingested(library(tmp_path / "songs"), tmp_path / "songs", root)
    ingested(library(tmp_path / "songs", songs=48), tmp_path / "songs", root)
    assert genre("verify", "--data", root) == "span 1: as it was written\nspan 2: as it was written\n"

    span = root / "span-2"
    part = min((span / "train").iterdir())
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    (span / "rejects.csv").unlink()
    (span / "eval" / ".part.swp").touch()
    (root / "span-4").mkdir()
    with pytest.raises(UserError, match=r"not as written: span 2, 4\. Put the files back"):
        genre("verify", "--data", root)
    assert capfd.readouterr().out.splitlines() == [
        "span 1: as it was written",
        f"{span}/eval/.part.swp: extra: not in the manifest",
        f"{span}/rejects.csv: missing",
        f"{part}: damaged: its SHA-256 is not the manifest's",
        f"{root}: no complete span 4 (complete spans: 1, 2). Ingest it, or choose another.",
    ]
    assert genre("verify", "--data", root, "--span", 1) == "span 1: as it was written\n"
    with pytest.raises(UserError, match="not as written: span 2"):
        genre("verify", "--data", root, "--span", 2)
    with pytest.raises(UserError, match="no complete span 3"):
        genre("verify", "--data", root, "--span", 3)


def test_a_root_that_cannot_be_written(tmp_path, genre):
    library(tmp_path / "songs")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/data: Not a directory"):
        genre("folder", tmp_path / "songs", *SMALL, "--data", tmp_path / "file" / "data")


def test_help_is_instant():
    program = "import sys, pipeline.cli; print([m for m in ('apache_beam', 'numpy', 'tensorflow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"


def test_ingest_needs_no_tensorflow():
    program = "import sys, components.library.ingest; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "False"


def test_the_record_of_inputs_is_no_part_of_the_content(tmp_path):
    """Copies of a library, with other times, give the same bytes."""
    for name, when in (("a", 1_000_000_000), ("b", 1_500_000_000)):
        inputs = library(tmp_path / name / "songs")
        for path in (tmp_path / name / "songs").rglob("*.wav"):
            os.utime(path, (when, when))
        ingested(inputs, tmp_path / name / "songs", tmp_path / name / "data")
    assert content(tmp_path / "a" / "data") == content(tmp_path / "b" / "data")
    sources = [json.loads((tmp_path / n / "data" / "span-1" / "source.json").read_text()) for n in ("a", "b")]
    assert sources[0] != sources[1]


def test_wav_of_the_examples_is_read_by_scipy(tmp_path):
    import io

    ingested(library(tmp_path / "songs"), tmp_path / "songs", tmp_path / "data")
    _, example = next(examples(tmp_path / "data" / "span-1"))
    rate, samples = scipy.io.wavfile.read(io.BytesIO(example["audio"]))
    assert rate == RATE and samples.dtype == np.int16 and samples.shape == (AUDIO.clip_samples,)
