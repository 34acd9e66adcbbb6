"""Files that are there whole or not at all, and flushed before they are renamed."""

import os
from pathlib import Path

import pytest
from etils import epath

from components.base.files import move_directory, replacing, write_atomically


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is flushed and renamed, in order, by the names of files and directories."""
    noted: list[str] = []
    fsync, replace, rename = os.fsync, os.replace, os.rename

    def named(descriptor: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name

    monkeypatch.setattr(os, "fsync", lambda file: (noted.append(f"flush {named(file)}"), fsync(file)))
    for name, real in (("replace", replace), ("rename", rename)):

        def move(source: str, target: str, *, real=real, **options) -> None:
            noted.append(f"rename to {Path(target).name}")
            real(source, target, **options)

        monkeypatch.setattr(os, name, move)
    return noted


@pytest.mark.parametrize(
    ("content", "written"), [("Jazz für alle", "Jazz für alle".encode()), (b"\xff\x00", b"\xff\x00")]
)
def test_a_file_is_flushed_before_its_rename_and_its_directory_after(
    tmp_path: Path, calls: list[str], content: str | bytes, written: bytes
) -> None:
    path = epath.Path(tmp_path / "new" / "record.json")
    write_atomically(path, content)
    assert path.read_bytes() == written
    made, flushed, *rest = calls
    assert made == f"flush {tmp_path.name}"
    assert flushed.startswith("flush .record.json.")
    assert rest == ["rename to record.json", "flush new"]
    assert [each.name for each in path.parent.iterdir()] == ["record.json"]


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = epath.Path(tmp_path / "record.json")
    write_atomically(path, "first")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("second")
        raise ZeroDivisionError
    assert path.read_text() == "first"
    assert [each.name for each in tmp_path.iterdir()] == ["record.json"]


def test_all_of_a_directory_is_flushed_before_its_rename(tmp_path: Path, calls: list[str]) -> None:
    made = epath.Path(tmp_path / "made")
    (made / "train").mkdir(parents=True)
    (made / "train" / "part").write_bytes(b"1")
    (made / "manifest").write_bytes(b"2")
    move_directory(made, made.with_name("span-1"))
    at = calls.index("rename to span-1")
    assert sorted(calls[:at]) == ["flush made", "flush manifest", "flush part", "flush train"]
    assert calls[at - 1] == "flush made"
    assert calls.index("flush part") < calls.index("flush train")
    assert calls[at + 1 :] == [f"flush {tmp_path.name}"]
    assert (tmp_path / "span-1" / "train" / "part").read_bytes() == b"1"
