"""Corrected labels: the span says what is right, everything else stays, and what it said before is kept."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import tensorflow as tf
from click.testing import CliRunner
from etils import epath

from components.audio.config import AudioConfig
from components.base.errors import UserError
from components.library.config import IngestConfig
from components.library.ingest import ingest
from components.library.layout import complete_spans, read_manifest, verify
from components.library.restating.corrections import read_corrections, restate
from components.library.restating.moves import MOVES_FILE
from components.library.sources.manifest_csv import Columns, read_csv
from components.library.tables import read_examples
from pipeline.cli import cli

AUDIO = AudioConfig(sample_rate=8000, clip_seconds=1.0)
WRONG = {"tone/train-0.wav": "noise", "clicks/test-0.wav": "tone"}


@pytest.fixture(scope="module")
def made(compose: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of one span, and the songs that it was made of."""
    directory = tmp_path_factory.mktemp("corrections")
    table = compose(directory / "songs", {"train": 3, "eval": 2, "test": 2})
    again(directory / "songs", table, directory / "data")
    return directory


def again(songs: Path, table: Path, root: Path) -> bool:
    """Ingests the songs; returns whether they were there."""
    tracks = read_csv(table, songs, Columns("path", "genre", None, "split", None, (), ()))
    return ingest(tracks, songs, "csv", root, AUDIO, IngestConfig(min_seconds=0.5)).existed


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "data", tmp_path / "data"))


@pytest.fixture(scope="module")
def two_spans(made: Path, compose: Callable[..., Path]) -> Path:
    """The library with a second span, of other songs."""
    table = compose(made / "others", {"train": 2, "eval": 1, "test": 1}, seed=1)
    root = Path(shutil.copytree(made / "data", made / "two"))
    tracks = [
        replace(track, track_id=f"more/{track.track_id.partition('/')[2]}", group=f"more {track.group}")
        for track in read_csv(table, made / "others", Columns("path", "genre", None, "split", None, (), ()))
        if track.genre == "tone"
    ]
    ingest(tracks, made / "others", "more", root, AUDIO, IngestConfig(min_seconds=0.5))
    return root


def examples_of(root: Path) -> dict[str, tuple[str, tf.train.Example]]:
    """By track id: the genre that an example has, and all else that is in it."""
    files = sorted(str(path) for path in root.glob("span-*/*/*.tfrecord"))
    found = {}
    for record in tf.data.TFRecordDataset(files).as_numpy_iterator():
        example = tf.train.Example.FromString(record)
        genre = example.features.feature.pop("genre").bytes_list.value[0].decode()
        found[example.features.feature["track_id"].bytes_list.value[0].decode()] = genre, example
    return found


def genres_of(root: Path) -> dict[str, str]:
    """What the examples themselves say."""
    return {name: genre for name, (genre, _) in examples_of(root).items()}


def test_examples_table_and_counts_say_what_is_right_and_nothing_else_changes(root: Path) -> None:
    examples, rows, manifest = examples_of(root), list(read_examples(root, 1)), read_manifest(epath.Path(root), 1)
    before = {name: genre for name, (genre, _) in examples.items()}
    assert restate(root, WRONG) == {1: 2}
    assert genres_of(root) == before | WRONG
    assert list(read_examples(root, 1)) == [row | {"genre": (before | WRONG)[row["track_id"]]} for row in rows]
    assert {name: rest for name, (_, rest) in examples_of(root).items()} == {
        name: rest for name, (_, rest) in examples.items()
    }
    assert list(examples_of(root)) == list(examples), "in the same order"
    now = read_manifest(epath.Path(root), 1)
    assert now.digest != manifest.digest and now.input_files == manifest.input_files
    assert now.splits["train"].genres == {"clicks": 3, "noise": 4, "tone": 2}
    assert now.splits["test"].genres == {"clicks": 1, "noise": 2, "tone": 3}
    assert now.splits["train"].clips == manifest.splits["train"].clips
    assert verify(epath.Path(root), 1) == []


def test_what_it_said_before_is_kept_whole(root: Path) -> None:
    digest = read_manifest(epath.Path(root), 1).digest
    files = {path.name: path.read_bytes() for path in (root / "span-1").rglob("*") if path.is_file()}
    restate(root, WRONG)
    former = root / ".restated" / f"span-1-{digest[:16]}"
    assert {path.name: path.read_bytes() for path in former.rglob("*") if path.is_file()} == files
    restate(root, {"tone/train-0.wav": "tone", "clicks/test-0.wav": "clicks"})
    assert read_manifest(epath.Path(root), 1).digest == digest, "corrected back, it is the same data"
    assert len(list((root / ".restated").iterdir())) == 2


def test_the_same_corrections_again_do_nothing(root: Path) -> None:
    restate(root, WRONG)
    digest = read_manifest(epath.Path(root), 1).digest
    assert restate(root, WRONG) == {}
    assert read_manifest(epath.Path(root), 1).digest == digest


def test_the_same_ingest_finds_the_span_and_undoes_nothing(made: Path, root: Path) -> None:
    restate(root, WRONG)
    assert again(made / "songs", made / "songs" / "tracks.csv", root)
    assert genres_of(root)["tone/train-0.wav"] == "noise"


def test_a_call_that_is_killed_leaves_all_spans_as_they_were_or_all_as_they_should_be(
    two_spans: Path, tmp_path: Path, run_killed: Callable[..., int]
) -> None:
    old, seen = genres_of(two_spans), []
    new = old | WRONG | {"more/train-0.wav": "noise"}
    root = Path(shutil.copytree(two_spans, tmp_path / "whole"))
    changes = run_killed(partial(restate, root, new), root, 0)
    assert genres_of(root) == new
    for at in (*range(1, changes - 12, 6), *range(changes - 12, changes + 1)):  # the last ones are the moves
        root = Path(shutil.copytree(two_spans, tmp_path / f"killed-{at}"))
        assert run_killed(partial(restate, root, new), root, at) == 0
        assert complete_spans(epath.Path(root)) == [1, 2]
        assert verify(epath.Path(root), 1) == verify(epath.Path(root), 2) == []
        assert not (root / MOVES_FILE).exists()
        found = {row["track_id"]: row["genre"] for span in (1, 2) for row in read_examples(root, span)}
        assert found in (old, new)
        seen.append(found == new)
        assert restate(root, new) == ({} if found == new else {1: 2, 2: 1})
        assert verify(epath.Path(root), 1) == verify(epath.Path(root), 2) == []
        assert list((root / ".staging").iterdir()) == []
        assert sorted(path.name[:6] for path in (root / ".restated").iterdir()) == ["span-1", "span-2"]
    assert genres_of(root) == new
    assert seen == sorted(seen) and seen.count(True) > 4 < seen.count(False)


def test_statements_share_the_files_in_which_nothing_was_wrong(root: Path) -> None:
    restate(root, WRONG)
    [former] = (root / ".restated").iterdir()
    for split, same in (("eval", True), ("train", False)):
        for file in (root / "span-1" / split).iterdir():
            assert file.samefile(former / split / file.name) == same


@pytest.mark.parametrize(
    ("found", "message"),
    [({"tone/train-0.wav": "polka"}, "no genre of this library: polka"), ({"nobody.wav": "tone"}, "nobody.wav")],
)
def test_what_is_not_in_the_library_changes_nothing(root: Path, found: dict[str, str], message: str) -> None:
    digest = read_manifest(epath.Path(root), 1).digest
    with pytest.raises(UserError, match=message):
        restate(root, {**WRONG, **found})
    assert read_manifest(epath.Path(root), 1).digest == digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("track_id\na\n", "no genre"),
        ("track_id,genre\n", "no corrections"),
        ("track_id,genre\na,x\na,y\n", "row 3: a has another genre above"),
        ("\xff", "cannot be read"),
        ("track_id,genre\na,x,y\n", "line 2 has more fields than the first"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "corrections.csv"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        read_corrections(file)


def test_the_command_takes_the_file_that_a_page_saves(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "corrections.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerows([["track_id", "genre", "was"], *([name, genre, "?"] for name, genre in WRONG.items())])
    command = ["ingest", "--corrections", str(file), "--data", str(root)]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0 and "span 1: 2 songs have another genre now" in done.output, done.output
    assert "nothing to do" in CliRunner().invoke(cli, command).output
    assert CliRunner().invoke(cli, [*command, "verify"]).exit_code == 2
