"""`genre classes`, on a library whose songs are long gone: the command asks for none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from etils import epath

from components.audio.config import AudioConfig
from components.base.errors import UserError
from components.library.layout import Library, Manifest, SplitCount, read_library, span_dir
from components.library.shards import Fact
from components.library.spans import write_library, write_rejects
from pipeline.cli import cli


def genre(*words: object) -> Result:
    done = CliRunner().invoke(cli, ["classes", *map(str, words)])
    if isinstance(done.exception, UserError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A library of folk and rock, whose second span rejected two songs of ska and one without a genre."""
    write_library(tmp_path, Library(genres=("folk", "rock"), audio=AudioConfig()))
    counts = {
        split: SplitCount(clips=2, groups=1, genres={"folk": clips, "rock": 10 * clips})
        for clips, split in enumerate(("train", "eval", "test"), start=1)
    }
    for span, genres in ((1, ()), (2, ("ska", "", "ska"))):
        rejects = [
            Fact(f"{i}", f"{i}.wav", name, "Ann", "train", reject="unknown genre") for i, name in enumerate(genres)
        ]
        directory = span_dir(tmp_path, span)
        directory.mkdir()
        manifest = Manifest(
            span=span,
            source="test",
            digest="",
            input_files=66,
            splits=counts,
            rejects={},
            genres=(),
            schema_digest="",
            files={"rejects.csv": write_rejects(directory / "rejects.csv", rejects)},
        )
        (directory / "manifest.json").write_text(manifest.model_dump_json())
    return tmp_path


def test_genres_are_listed_in_order_with_their_clips(data: Path) -> None:
    header, *lines = genre("list", "--data", data).output.splitlines()
    assert header.split() == ["index", "genre", "span", "train", "eval", "test"]
    assert [line.split() for line in lines] == [
        ["0", "folk", "1", "1", "2", "3"],
        ["0", "folk", "2", "1", "2", "3"],
        ["1", "rock", "1", "10", "20", "30"],
        ["1", "rock", "2", "10", "20", "30"],
    ]
    folk, rock = json.loads(genre("list", "--data", data, "--json").output)
    assert (folk["index"], folk["genre"], rock["spans"][1]) == (
        0,
        "folk",
        {"span": 2, "train": 10, "eval": 20, "test": 30},
    )


def test_an_added_genre_comes_last_and_what_follows_is_said(data: Path) -> None:
    said = genre("add", "ska", "[dub]", "--data", data).output.splitlines()
    assert said == [
        f"{data}: added ska, [dub]; 4 genres now: folk, rock, ska, [dub]",
        "A new model line starts: the next run trains fresh, and its model is judged by the floors alone, because the "
        "champion knows other genres.",
        "Span 2 rejected songs for their genre: 2 of ska. Ingest its input again to bring them in.",
    ]
    assert read_library(epath.Path(data)).genres == ("folk", "rock", "ska", "[dub]")
    last = genre("list", "--data", data).output.splitlines()[-1]
    assert last.split() == ["3", "[dub]", "2", "0", "0", "0"]


def test_what_cannot_be_added_or_listed(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="genre 'rock' exists"):
        genre("add", "rock", "--data", data)
    with pytest.raises(UserError, match="data: gs://b/data is no directory of this machine"):
        genre("add", "ska", "--set", "data=gs://b/data")
    for words in (("list",), ("add", "ska")):
        with pytest.raises(UserError, match="none: no such data directory"):
            genre(*words, "--data", tmp_path / "none")
    assert CliRunner().invoke(cli, ["classes", "add", "--data", str(data)]).exit_code == 2


def test_neither_beam_nor_tensorflow_is_loaded(data: Path) -> None:
    program = (
        "import sys\nfrom pipeline.cli import cli\n"
        f"cli(['classes', 'add', 'ska', '--data', {str(data)!r}], standalone_mode=False)\n"
        "print([name for name in ('apache_beam', 'tensorflow', 'tfx') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.endswith("[]\n")
