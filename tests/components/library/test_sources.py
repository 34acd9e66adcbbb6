"""What each kind of library lists, against hand-made ones and FMA's real table."""

import csv
import os
from pathlib import Path

import pytest

from components.base.errors import UserError
from components.library.layout import SPLITS
from components.library.sources.fma import SUBSETS, read_fma
from components.library.sources.folder import read_folder
from components.library.sources.manifest_csv import Columns, read_csv
from components.library.sources.track import AUDIO_SUFFIXES, parse_split

ESC10 = Columns(genre="label", group="source_recording", fold="fold", eval_folds=("4",), test_folds=("5",))


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


# --- Folder --------------------------------------------------------------------------------------------------------


def test_folder(tmp_path):
    touch(tmp_path, "rock/a.mp3", "rock/Bob/b.FLAC", "rock/Bob/Live/CD 1/c.ogg", "jazz/ü.wav", "jazz/cover.jpg")
    touch(tmp_path, "README", "jazz/.hidden.mp3", "lost.wav", "empty/.DS_Store")
    tracks = {track.path: track for track in read_folder(tmp_path)}
    assert {path: (t.genre, t.group) for path, t in tracks.items() if not t.problem} == {
        "rock/a.mp3": ("rock", "rock/a.mp3"),
        "rock/Bob/b.FLAC": ("rock", "Bob"),
        "rock/Bob/Live/CD 1/c.ogg": ("rock", "Bob"),
        "jazz/ü.wav": ("jazz", "jazz/ü.wav"),
    }
    assert {path: t.problem.partition(":")[0] for path, t in tracks.items() if t.problem} == {
        "README": "not audio",
        "jazz/.hidden.mp3": "not audio",
        "jazz/cover.jpg": "not audio",
        "empty/.DS_Store": "not audio",
        "lost.wav": "unknown genre",
    }
    assert all(t.track_id == path and t.split is None for path, t in tracks.items())


def test_folder_follows_links_but_not_in_rounds(tmp_path):
    touch(tmp_path / "elsewhere", "a.wav")
    library = touch(tmp_path / "library", "rock/b.wav")
    (library / "jazz").symlink_to(tmp_path / "elsewhere")
    (library / "rock" / "again").symlink_to(library)
    paths = [track.path for track in read_folder(library)]
    assert "jazz/a.wav" in paths and "rock/b.wav" in paths
    assert len(paths) < 10


def test_folder_names_that_are_no_text(tmp_path):
    touch(tmp_path, "rock/a.wav")
    name = os.fsencode(tmp_path) + b"/rock/caf\xe9.wav"
    try:
        open(name, "w").close()
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    problems = [track.problem for track in read_folder(tmp_path)]
    assert sorted(problems) == ["", "unreadable: its name is not valid UTF-8; rename it, with `convmv` for example"]


def test_folders_that_are_no_genres(tmp_path):
    touch(tmp_path, "ro\nck/a.mp3", "jazz/b.mp3")
    with pytest.raises(UserError, match=r"'ro.nck' is no name for a genre: it has control characters. Rename"):
        read_folder(tmp_path)


def test_folder_mistakes(tmp_path):
    with pytest.raises(UserError, match="no such directory"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no audio file in it"):
        read_folder(touch(tmp_path / "a", "notes.txt"))
    with pytest.raises(UserError, match=r"directly in it.*a folder per genre.*genre ingest csv"):
        read_folder(touch(tmp_path / "b", "song.mp3"))


def test_suffixes_cover_what_users_have():
    assert {".mp3", ".ogg", ".flac", ".wav", ".aif", ".aiff", ".m4a", ".opus", ".wma", ".aac"} <= set(AUDIO_SUFFIXES)


# --- CSV -----------------------------------------------------------------------------------------------------------


def table(tmp_path, text, name="songs.csv"):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


def test_csv_of_paths_and_genres(tmp_path):
    tracks = read_csv(table(tmp_path, "path,genre\nx/a.mp3, rock \n./b.mp3,\n"), tmp_path, Columns())
    assert [(t.track_id, t.path, t.genre, t.group, t.split) for t in tracks] == [
        ("x/a.mp3", "x/a.mp3", "rock", "x/a.mp3", None),
        ("b.mp3", "b.mp3", "", "b.mp3", None),
    ]
    assert tracks[1].where == "songs.csv, line 3"


def test_csv_with_a_byte_order_mark_tabs_and_absolute_paths(tmp_path):
    file = table(tmp_path, f"\ufeffpath\tgenre\n{tmp_path}/x/a.mp3\trock\n", "songs.tsv")
    assert [t.path for t in read_csv(file, tmp_path, Columns())] == ["x/a.mp3"]


def test_csv_with_absolute_paths_below_a_root_with_dots_and_links(tmp_path, monkeypatch):
    touch(tmp_path, "lib/rock/a.mp3", "sub/x")
    (tmp_path / "link").symlink_to("lib")
    monkeypatch.chdir(tmp_path / "sub")
    text = f"path,genre\n{tmp_path}/lib/rock/a.mp3,rock\n{tmp_path}/link/rock/b.mp3,rock\n"
    for root in ("../lib", "../link", "../sub/../lib"):
        tracks = read_csv(table(tmp_path, text), Path(root), Columns())
        assert [t.path for t in tracks] == ["rock/a.mp3", "rock/b.mp3"]


def test_genres_of_a_table_are_normalised(tmp_path):
    tracks = read_csv(table(tmp_path, "path , genre\na,\u200bmu\u0301sica  nueva\xa0\n"), tmp_path, Columns())
    assert [t.genre for t in tracks] == ["música nueva"]


def test_csv_groups_and_splits(tmp_path):
    text = "p,g,who,part\na,rock,Bob,training\nb,rock,,validation\nc,jazz,Ann,TEST\n"
    columns = Columns(path="p", genre="g", group="who", split="part")
    tracks = read_csv(table(tmp_path, text), tmp_path, columns)
    assert [(t.group, t.split) for t in tracks] == [("Bob", "train"), ("b", "eval"), ("Ann", "test")]


def test_csv_of_esc10(shared_data):
    tracks = read_csv(shared_data / "esc10" / "labels.csv", shared_data / "esc10", ESC10)
    assert len(tracks) == 400 and len({t.genre for t in tracks}) == 10
    assert [sum(t.split == split for t in tracks) for split in SPLITS] == [240, 80, 80]
    assert all((shared_data / "esc10" / t.path).is_file() for t in tracks)


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("path,label\na,rock\n", {}, r"no column 'genre'.*path, label.*--genre-column"),
        ("path,genre\na,rock\n", {"group": "artist"}, r"no column 'artist'.*--group-column"),
        ("path,genre\n", {}, "no rows"),
        ("", {}, "no rows"),
        ("\n", {}, "no rows"),
        ("path,genre\na,rock\n,jazz\n", {}, "line 3: no path"),
        ("path,genre\na,rock\nb,jazz\nx/../a,rock\n", {}, "line 4: a was listed before, in songs.csv, line 2"),
        ("path,genre\nb,rock\na,Drum, Bass\n", {}, "line 3: 3 fields under 2 columns.*quotation marks"),
        ("path;genre\na;rock\n", {}, "line 1: its columns are separated by ';', not ','. Separate them by commas"),
        ("path\tgenre\na\trock\n", {}, r"separated by '\\t', not ','. Name the file .tsv"),
        ("path,genre,genre\na,rock,x\n", {}, "line 1: 2 columns are called 'genre'"),
        ("path,genre\na,ro\x1bck\n", {}, "line 2: 'ro.x1bck' is no name for a genre: it has control characters"),
        ("path,genre\n../a,rock\n", {}, "line 2.*not inside of --audio-root"),
        ("path,genre\n/etc/a,rock\n", {}, "line 2.*not inside of --audio-root"),
        ("path,genre,s\na,rock,half\n", {"split": "s"}, "line 2: 'half'.*train.*validation.*test"),
        ("path,genre,s\na,rock\n", {"split": "s"}, "line 2: ''.*is no split"),
        ("path,genre,f\na,rock,1\n", {"fold": "f", "eval_folds": ["1"], "test_folds": ["9"]}, "--test-fold 9.*are: 1"),
        ("path,genre,f\na,r,1\nb,r,2\nc,r,\n", {"fold": "f", "eval_folds": "1", "test_folds": "2"}, "line 4: no fold"),
    ],
)
def test_csv_mistakes_are_named(tmp_path, text, columns, message):
    with pytest.raises(UserError, match=f"(?s){message}"):
        read_csv(table(tmp_path, text), tmp_path, Columns(**columns))


def test_folds_without_held_out_ones_leave_the_split_to_ingest(tmp_path):
    tracks = read_csv(table(tmp_path, "path,genre,f\na,rock,1\nb,rock,2\n"), tmp_path, Columns(fold="f"))
    assert [(track.fold, track.split) for track in tracks] == [("1", None), ("2", None)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"split": "s", "fold": "f"}, "Give one of them"),
        ({"fold": "f", "eval_folds": ["1"]}, "--eval-fold and --test-fold"),
        ({"eval_folds": ["1"]}, "--fold-column"),
        ({"fold": "f", "eval_folds": ["1"], "test_folds": ["1", "2"]}, "fold 1: given both"),
    ],
)
def test_csv_options_that_contradict(columns, message):
    with pytest.raises(UserError, match=message):
        Columns(**columns)


def test_csv_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_csv(tmp_path / "no.csv", tmp_path, Columns())
    with pytest.raises(UserError, match="--audio-root"):
        read_csv(table(tmp_path, "path,genre\na,b\n"), tmp_path / "no", Columns())
    (tmp_path / "latin.csv").write_bytes("path,genre\na,caf\xe9\n".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        read_csv(tmp_path / "latin.csv", tmp_path, Columns())


@pytest.mark.parametrize(
    ("text", "split"), [("Training", "train"), ("validation", "eval"), ("dev ", "eval"), ("test", "test"), ("", None)]
)
def test_parse_split(text, split):
    assert parse_split(text) == split


# --- FMA -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("subset", "count"), [("small", 58), ("medium", 58 + 136), ("large", 682)])
def test_fma_subsets_contain_the_smaller_ones(shared_data, tmp_path, subset, count):
    assert len(read_fma(tmp_path, shared_data / "fma_meta", subset)) == count
    assert subset in SUBSETS


def test_fma_tracks_are_those_of_its_own_list(shared_data, tmp_path):
    """FMA's table, read here, against the separate list of paths and genres of the small subset."""
    with (shared_data / "fma_meta" / "fma_small.csv").open(newline="") as file:
        listed = {row["filename"]: row["genre"] for row in csv.DictReader(file)}
    tracks = read_fma(tmp_path, shared_data / "fma_meta" / "fma_tracks_682rows.csv", "small")
    assert {t.path: t.genre for t in tracks}.items() <= listed.items()


def test_fma_with_a_byte_order_mark(shared_data, tmp_path):
    real = (shared_data / "fma_meta" / "fma_tracks_682rows.csv").read_bytes()
    (tmp_path / "tracks.csv").write_bytes(b"\xef\xbb\xbf" + real)
    tracks = {(t.track_id, t.genre, t.split) for t in read_fma(tmp_path, tmp_path, "large")}
    assert tracks == {(t.track_id, t.genre, t.split) for t in read_fma(tmp_path, shared_data / "fma_meta", "large")}


def test_fma_columns(shared_data, tmp_path):
    tracks = {t.track_id: t for t in read_fma(tmp_path, shared_data / "fma_meta", "large")}
    track = tracks["2"]
    assert (track.path, track.genre, track.group, track.split) == ("000/000002.mp3", "Hip-Hop", "1", "train")
    assert sum(not t.genre for t in tracks.values()) == 51
    assert [sum(t.split == split for t in tracks.values()) for split in SPLITS] == [563, 48, 71]
    artists = {}
    for t in tracks.values():
        assert artists.setdefault(t.group, t.split) == t.split


def test_fma_prefers_the_table_of_the_right_name(shared_data, tmp_path):
    real = (shared_data / "fma_meta" / "fma_tracks_682rows.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "raw_tracks.csv").write_text("track_id\n", encoding="utf-8")
    (tmp_path / "tracks.csv").write_text("".join(real[:3]) + next(r for r in real if r.startswith("10,")), "utf-8")
    assert [t.track_id for t in read_fma(tmp_path, tmp_path, "small")] == ["10"]


def test_fma_mistakes_are_named(shared_data, tmp_path):
    meta = shared_data / "fma_meta"
    with pytest.raises(UserError, match=r"--audio .*no such directory"):
        read_fma(tmp_path / "no", meta, "small")
    with pytest.raises(UserError, match=r"--metadata .*no such directory"):
        read_fma(tmp_path, tmp_path / "no", "small")
    with pytest.raises(UserError, match=r"tracks.csv: no such file"):
        read_fma(tmp_path, tmp_path, "small")
    with pytest.raises(UserError, match=r"three header rows.*lacks set / subset"):
        read_fma(tmp_path, meta / "fma_small.csv", "small")
    cut, whole = tmp_path / "tracks.csv", (meta / "fma_tracks_682rows.csv").read_bytes()
    cut.write_bytes(whole.rpartition(b",")[0])
    with pytest.raises(UserError, match=r"line \d+: 52 fields, not 53"):
        read_fma(tmp_path, tmp_path, "small")
    cut.write_bytes(whole[:100_000])
    with pytest.raises(UserError, match=r"line \d+: not readable as CSV \(unexpected end"):
        read_fma(tmp_path, tmp_path, "small")
