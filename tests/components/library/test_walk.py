"""The walk of a folder: links, what is no file, and what is left out."""

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from components.library.sources.walk import look, walk


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def walked(root: Path) -> dict[str, str]:
    entries = list(walk(root))
    found = {entry.path: entry.problem for entry in entries}
    assert len(found) == len(entries)
    return found


def test_folders_of_systems_and_hidden_names_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "rock/a.mp3", "rock/._a.mp3", ".Trash-1000/files/b.mp3", "rock/.stversions/a.mp3")
    touch(tmp_path, "rock/@eaDir/a.mp3", "__MACOSX/a.mp3", "$RECYCLE.BIN/a.mp3", "System Volume Information/a.mp3")
    touch(tmp_path, "lost+found/a.mp3", "rock/Thumbs.db", "rock/desktop.ini", "rock/cover.jpg", "rock/.DS_Store")
    assert walked(tmp_path) == {
        "rock/a.mp3": "",
        **dict.fromkeys((".Trash-1000", "rock/.stversions"), "not audio: a hidden folder"),
        **dict.fromkeys(("rock/._a.mp3", "rock/.DS_Store"), "not audio: a hidden file"),
        **dict.fromkeys(
            ("rock/@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"),
            "not audio: a folder of the system",
        ),
        **dict.fromkeys(("rock/Thumbs.db", "rock/desktop.ini", "rock/cover.jpg"), "not audio"),
    }


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    touch(tmp_path, "rock/a.mp3")
    for name, target in {
        "rock/self.mp3": "self.mp3",
        "rock/one.mp3": "two.mp3",
        "rock/two.mp3": "one.mp3",
        "jazz": "jazz",
        "rock/Bob": "Bob",
        "rock/gone.mp3": "nowhere.mp3",
        "folk": "a.mp3/below",
    }.items():
        (tmp_path / name).symlink_to(target)
    circle = "unreadable: a link in a circle"
    assert walked(tmp_path) == {
        "rock/a.mp3": "",
        **dict.fromkeys(("rock/self.mp3", "rock/one.mp3", "rock/two.mp3", "jazz", "rock/Bob"), circle),
        "rock/gone.mp3": "missing file: a link to nowhere.mp3",
        "folk": "missing file: a link to a.mp3/below",
    }


def test_a_linked_folder_is_entered_once_and_after_the_others(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "a.mp3")
    library = touch(tmp_path / "library", "rock/b.mp3")
    for name, target in {"jazz": "../elsewhere", "soul": "../elsewhere", "a": "rock", "rock/up": ".."}.items():
        (library / name).symlink_to(target)
    assert walked(library) == {
        "rock/b.mp3": "",
        "a": "listed before: the same folder as rock",
        "jazz/a.mp3": "",
        "soul": "listed before: the same folder as jazz",
        "rock/up": "listed before: the same folder as .",
    }
    assert list(walk(library)) == list(walk(library))


def device(path: Path) -> None:
    os.mknod(path, 0o600 | 0o20000, os.makedev(1, 5))  # /dev/zero, which has no end


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


@pytest.mark.parametrize(
    ("make", "kind"), [(os.mkfifo, "a named pipe"), (listen, "a socket"), (device, "a device"), (os.mkdir, "a folder")]
)
def test_what_is_no_file_is_never_opened(tmp_path: Path, make: Callable[[Path], None], kind: str) -> None:
    path = tmp_path / "a.mp3"
    try:
        make(path)
    except PermissionError:
        pytest.skip("this user may not make devices")
    assert look(path)[1] == f"unreadable: {kind}, not a regular file"
    if kind != "a folder":
        assert walked(tmp_path) == {"a.mp3": f"unreadable: {kind}, not a regular file"}


def test_a_path_that_names_no_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3")
    for name in ("b.mp3", "a.mp3/b.mp3", "a\0.mp3", "x" * 300):
        assert look(tmp_path / name) == (None, "missing file")


def test_folders_deeper_than_the_stack(tmp_path: Path) -> None:
    """No limit of Python's ends the walk; that of the system does, with words."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        there = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(os.open("a.mp3", os.O_CREAT, dir_fd=here))
    os.close(here)
    assert list(walked(tmp_path)) == [f"{'d/' * 1500}a.mp3"]
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # pytest would not get to its end
