"""Directories that change places: who reads meanwhile waits, finishes the moves, or is told why neither is possible."""

from pathlib import Path

import pytest
from etils import epath

from components.base.errors import UserError
from components.library.layout import complete_spans, read_manifest, span_numbers, verified_file
from components.library.restating import moves
from components.library.restating.moves import MOVES_FILE, move_all, only_writer, settle


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A library whose span is moved away; a process was killed before it moved the new one there."""
    for name, text in (("new", "new"), (".former/span-1", "old")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text(text)
    listed = moves.Moves(moves=(("span-1", ".former/span-1"), ("new", "span-1")))
    moves.write_record(epath.Path(tmp_path / MOVES_FILE), listed)
    return tmp_path


def text(root: Path) -> str:
    return (root / "span-1" / "manifest.json").read_text()


@pytest.mark.parametrize("read", [complete_spans, span_numbers])
def test_a_reader_finishes_what_was_begun(root: Path, read: object) -> None:
    assert callable(read) and read(epath.Path(root)) == [1]
    assert text(root) == "new" and not (root / MOVES_FILE).exists()
    assert (root / ".former" / "span-1" / "manifest.json").read_text() == "old"


def test_a_reader_of_one_manifest_does_too(root: Path) -> None:
    with pytest.raises(UserError, match=r"span-1/manifest\.json: damaged"):  # it is only the word "new"
        read_manifest(epath.Path(root), 1)
    assert text(root) == "new"


def test_a_writer_finishes_it_first(root: Path) -> None:
    with only_writer(root):
        assert text(root) == "new"


def test_who_reads_while_another_process_moves_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "_MOMENTS", 0.0)
    begun = (root / MOVES_FILE).read_text()
    with only_writer(root):  # a lock of another open file, as another process has it
        (root / MOVES_FILE).write_text(begun)
        (root / "span-1").rename(root / "new")
        for read in (complete_spans, lambda place: read_manifest(place, 1), lambda place: verified_file(place, 1, "")):
            with pytest.raises(UserError, match=r"is writing to this library.*none may be read meanwhile"):
                read(epath.Path(root))
    assert complete_spans(epath.Path(root)) == [1] and text(root) == "new"


def test_moves_that_begin_while_spans_are_listed_are_noticed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.library import layout

    begun = (root / MOVES_FILE).rename(root / "later")

    def list_meanwhile(directory: epath.Path, pattern: str) -> list[epath.Path]:
        found = [path for path in directory.iterdir() if path.name.startswith("span-")]
        if begun.exists():
            begun.rename(root / MOVES_FILE)
        return found

    monkeypatch.setattr(layout, "matching", list_meanwhile)
    assert span_numbers(epath.Path(root)) == [1]


def test_a_library_that_cannot_be_written_says_why(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(moves, "move_directory", refuse)
    with pytest.raises(UserError, match=r"cannot be moved from here: EACCES.*where the library can be written"):
        complete_spans(epath.Path(root))


def test_what_is_missing_is_named_and_nothing_is_made_up(root: Path) -> None:
    (root / "new").rename(root / "elsewhere")
    with pytest.raises(UserError, match=r"new: missing, and was to become .*span-1"):
        settle(epath.Path(root))
    assert (root / MOVES_FILE).exists() and not (root / "span-1").exists()


def test_all_is_on_the_disk_before_the_moves_are_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "new").mkdir()
    steps: list[str] = []
    for name in ("flush_tree", "write_record", "move_directory", "remove"):
        real = getattr(moves, name)
        note = lambda *args, name=name, real=real: (steps.append(name), real(*args))  # noqa: E731
        monkeypatch.setattr(moves, name, note)
    move_all(tmp_path, [(tmp_path / "new", tmp_path / "span-1")])
    assert steps == ["flush_tree", "write_record", "move_directory", "remove"]
