"""What a power cut leaves: nothing is visible under its name before its content is on the disk."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from etils import epath

from components.store.checksums import find_damage
from components.store.model_store import current_version, version_dir, versions, withdrawal_of

ROOT = Path(__file__).resolve().parents[3]
CHANGES = """if True:
    import sys
    from datetime import UTC, datetime
    from etils import epath
    from components.base.files import move_directory
    from components.library.set_aside import restore, unusable
    from components.base.errors import UserError
    from components.retraining.history import note_decision
    from components.retraining.policy import Decision, Facts
    from components.store.model_store import Lineage, publish, roll_back

    root = epath.Path(sys.argv[1])
    model, store = root / "model", root / "workspace" / "models"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph" * 1000)
    (model / "variables" / "variables.index").write_bytes(b"index" * 1000)
    for version, candidate in enumerate("abc", 1):
        publish(store, model, Lineage(candidate=candidate, parent=version - 1 or None, data="", span=1, window=(1,)))
    roll_back(store)
    facts = Facts(candidate="c", span=1, window=(1,), champion=None, new_clips=9)
    note_decision(root / "workspace/history", "", facts, None, Decision(action="wait", reasons=()), datetime.now(UTC))
    for _ in range(2):
        unusable(str(root / "workspace/set-aside"), {1: "d"}, UserError("damaged"))
    restore(root / "workspace/set-aside", 1)
    unusable(str(root / "workspace/set-aside"), {1: "d"}, UserError("damaged"))
    span = root / "data" / ".staging" / "span"
    (span / "train").mkdir(parents=True)
    (span / "train" / "part").write_bytes(b"records" * 1000)
    (span / "manifest.json").write_text("{}")
    move_directory(span, root / "data" / "span-1")
"""
SETTLED = ("workspace/models", "workspace/history", "workspace/set-aside", "data")
"""Directories of which nothing may be waiting for the disk at the end."""


def make(root: Path, *before: object) -> None:
    command = [*map(str, before), sys.executable, "-c", CHANGES, str(root)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120)


def hidden(path: str) -> bool:
    return any(part.startswith(".") for part in Path(path).parts) or "/model/" in f"{path}/"


def calls(trace: str, root: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields each successful call that `root` is concerned with: its name, and the paths that it names."""
    for line in trace.splitlines():
        found = re.match(r"\d+ +(\w+)\((.*)\) += (?!-1)(.*)", line)
        if found and (paths := re.findall(rf'["<]({re.escape(str(root))}[^">]*)', f"{found[2]} {found[3]}")):
            yield f"{found[1]} {found[2]}", list(dict.fromkeys(paths))


def test_everything_is_flushed_in_order(tmp_path: Path) -> None:
    """Replays the system calls: `waiting` holds the files and directories whose content may not be on the disk."""
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-qq", "true"], capture_output=True).returncode:
        pytest.skip("no strace, or no right to trace a process")
    root, trace = tmp_path.resolve() / "root", tmp_path / "trace"
    root.mkdir()
    names = "openat,write,pwrite64,copy_file_range,sendfile,ftruncate,mkdir,rename,renameat,renameat2,unlink,unlinkat"
    make(root, strace, "-f", "-y", "-s", "0", "-o", trace, "-e", f"trace={names},rmdir,fsync,fdatasync", "--")
    waiting: set[str] = set()
    visible = 0
    for call, paths in calls(trace.read_text(), root):
        name, target = call.split()[0], paths[-1]
        # A hidden name is of a lock or of what is not complete, so that its loss does no harm.
        parent = set() if Path(target).name.startswith(".") else {str(Path(target).parent)}
        if name in ("fsync", "fdatasync"):
            waiting.discard(target)
        elif name.startswith("rename"):
            source = paths[0]
            if not hidden(target):
                visible += 1
                inside = {path for path in waiting if path == source or path.startswith(f"{source}/")}
                others = {path for path in waiting if not hidden(path)} - {str(root)}
                assert (target, inside, others) == (target, set(), set())
            waiting = {path.replace(source, target, 1) if path.startswith(source) else path for path in waiting}
            waiting |= parent
        elif name in ("unlink", "unlinkat", "rmdir"):
            waiting = waiting - {target} | parent
        elif name == "mkdir":
            waiting |= parent
        elif "O_CREAT" in call:
            waiting |= {target} | parent
        elif name != "openat":
            waiting.add(target)
    # 3 versions and pointers; a withdrawal and a pointer; the history; 3 times set aside; a span.
    assert visible == 6 + 2 + 1 + 3 + 1
    settled = [str(root / name) for name in SETTLED]
    assert not [path for path in waiting if not hidden(path) and path.startswith(tuple(settled))]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """An ext4 file system, and the file that its blocks are in."""
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    try:
        with image.open("wb") as file:
            file.truncate(32 << 20)
        subprocess.run(["mkfs.ext4", "-q", image], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", image, place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no right to mount a file system from a file: {error}")
    try:
        yield place, image
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_power_cut_after_a_push_and_a_roll_back(disk: tuple[Path, Path], tmp_path: Path) -> None:
    place, image = disk
    make(place)
    (place / "unflushed").write_bytes(b"lost" * 1000)
    (place / "unflushed").rename(place / "workspace" / "unflushed")
    copy, after = tmp_path / "copy", tmp_path / "after"
    shutil.copyfile(image, copy)
    after.mkdir()
    subprocess.run(["mount", "-o", "loop", copy, after], check=True)  # ext4 recovers from its journal
    try:
        lost = after / "workspace" / "unflushed"
        assert not lost.exists() or not lost.read_bytes(), "the copy has what was never flushed: it proves nothing"
        store = epath.Path(after / "workspace" / "models")
        assert (versions(store), current_version(store)) == ([1, 2, 3], 2)
        assert [find_damage(version_dir(store, version)) for version in (1, 2, 3)] == [None] * 3
        assert withdrawal_of(store, 3).served == 2
        for name in ("workspace/history/c.json", "workspace/set-aside/1.json", "data/span-1/train/part"):
            assert (after / name).read_bytes() == (place / name).read_bytes() != b""
    finally:
        subprocess.run(["umount", after], check=True)
