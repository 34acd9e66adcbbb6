"""Metadata, locks and installation agree; `genre --help` stays light; nothing tracked knows where it was made."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
RUNTIME, GPU, DEVELOPMENT = "requirements.lock", "requirements-gpu.lock", "requirements-dev.lock"
EXTRAS = {RUNTIME: ["train", "export"], GPU: ["train", "export", "gpu"], DEVELOPMENT: ["train", "export", "dev"]}
"""What each lock holds on top of the project's own requirements."""
INDEX_HOST = re.compile(r"py" + r"pi\.org|python" + r"hosted\.org", re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![\w.~}/-])/(?:wo" + r"rk|ro" + r"ot|opt/whe" + r"els)/")
HEAVY = [
    *("apache_beam", "google.auth", "google.protobuf", "keras", "kfp", "librosa", "matplotlib", "numpy", "pandas"),
    *("pyarrow", "scipy", "sklearn", "soundfile", "tensorflow", "tensorflow_data_validation", "tfx", "tfx_bsl"),
]


def entries(lock: str) -> list[str]:
    """Each entry of a lock on one line, without comments."""
    lines = (line for line in (ROOT / lock).read_text().splitlines() if not line.lstrip().startswith("#"))
    return [entry for entry in "\n".join(lines).replace("\\\n", " ").splitlines() if entry.strip()]


def pins(lock: str) -> dict[str, Version]:
    """Version by canonical name."""
    found = {}
    for entry in entries(lock):
        requirement = Requirement(entry.partition("--hash=")[0])
        (specifier,) = requirement.specifier
        assert specifier.operator == "==" and not requirement.marker, entry
        found[canonicalize_name(requirement.name)] = Version(specifier.version)
    return found


def overrides() -> dict[str, Requirement]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parsed = [Requirement(text) for text in settings["tool"]["uv"]["override-dependencies"]]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def metadata(lock: str) -> list[Requirement]:
    """What setup.py, as it is now and not as it was when it was installed, asks for."""
    code = """if True:
        import json, sys
        import setuptools
        from distutils.core import run_setup
        metadata = run_setup(sys.argv[1], stop_after="init")
        print(json.dumps([metadata.install_requires, metadata.extras_require]))
    """
    command = [sys.executable, "-c", code, str(ROOT / "setup.py")]
    asked, extras = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return [Requirement(text) for text in asked + [text for extra in EXTRAS[lock] for text in extras[extra]]]


def applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""})


def requirements_of(package: str) -> list[Requirement]:
    try:
        return [Requirement(text) for text in importlib.metadata.requires(package) or ()]
    except importlib.metadata.PackageNotFoundError:
        return []  # which another test tells


def reachable(asked: list[Requirement]) -> Iterator[tuple[str, Requirement]]:
    """Every (who asks, requirement) that applies here, from `asked` through the metadata of what is installed."""
    seen: dict[str, set[str]] = {}
    queue = [("setup.py", requirement) for requirement in asked]
    while queue:
        asker, requirement = queue.pop()
        yield asker, requirement
        name = canonicalize_name(requirement.name)
        if name in seen and requirement.extras <= seen[name]:
            continue
        extras = seen[name] = seen.get(name, set()) | requirement.extras
        queue += [(name, each) for each in requirements_of(name) if applies(each, extras)]


@pytest.mark.parametrize("lock", EXTRAS)
def test_lock_is_what_the_metadata_asks_for(lock: str) -> None:
    locked, overridden = pins(lock), overrides()
    asked = list(reachable(metadata(lock)))
    problems = []
    for asker, requirement in asked:
        name = canonicalize_name(requirement.name)
        wanted = overridden.get(name, requirement).specifier
        if name not in locked:
            problems.append(f"{asker} asks for {requirement}, which is not locked")
        elif not wanted.contains(locked[name], prereleases=True):
            problems.append(f"{asker} asks for {requirement}, but {locked[name]} is locked")
    superfluous = locked.keys() - {canonicalize_name(requirement.name) for _, requirement in asked}
    problems += [f"nobody asks for {name}" for name in sorted(superfluous)]
    assert not problems, f"{lock} is out of date, `make lock`: {problems}"


@pytest.mark.parametrize("lock", EXTRAS)
def test_every_lock_pins_what_the_runtime_lock_does(lock: str) -> None:
    assert set(entries(RUNTIME)) <= set(entries(lock))
    assert len(set(entries(lock))) == len(pins(lock))


def test_the_lock_for_gpus_only_adds_libraries_of_nvidia() -> None:
    added = pins(GPU).keys() - pins(RUNTIME).keys()
    assert "nvidia-cudnn-cu12" in added
    assert not [name for name in added if not name.startswith("nvidia-")]


@pytest.mark.parametrize("lock", EXTRAS)
def test_lock_can_be_installed_from_any_index_and_only_with_hashes(lock: str) -> None:
    for entry in entries(lock):
        assert re.fullmatch(r"[\w.-]+==\S+( +--hash=sha256:[0-9a-f]{64})+ *", entry)
    assert not INDEX_HOST.search((ROOT / lock).read_text())
    assert "://" not in (ROOT / lock).read_text()
    assert not (ROOT / "uv.lock").exists(), "it records download addresses"


@pytest.mark.parametrize("lock", EXTRAS)
def test_overrides_hold_in_the_lock(lock: str) -> None:
    locked = pins(lock)
    for name, override in overrides().items():
        assert override.specifier.contains(locked[name]), override


def test_installed_versions_are_the_locked_ones() -> None:
    locked = pins(DEVELOPMENT)
    installed = {name: Version(importlib.metadata.version(name)) for name in locked}
    wrong = {name: str(version) for name, version in installed.items() if version != locked[name]}
    assert not wrong, f"not as locked, `make clean test`: {wrong}"


def test_help_imports_nothing_heavy() -> None:
    code = """if True:
        import sys
        from pipeline.cli import cli
        for command in [], *([name] for name in cli.commands):
            cli([*command, "--help"], standalone_mode=False)
        print(*sorted(set(sys.argv[1:]) & set(sys.modules)), file=sys.stderr)
    """
    process = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True)
    assert "Commands:" in process.stdout
    assert process.stderr == "\n"


def test_nothing_tracked_knows_a_machine_or_an_index() -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    problems = []
    for name in filter(None, listed.split(b"\0")):
        file = ROOT / os.fsdecode(name)
        if not file.is_file():
            continue  # deleted, not committed yet
        text = file.read_text(encoding="utf-8", errors="replace")
        found = [match.group() for pattern in (INDEX_HOST, MACHINE_PATH) for match in pattern.finditer(text)]
        problems += [f"{file.relative_to(ROOT)}: {match}" for match in found]
    assert not problems


def test_the_license_is_in_the_wheel(tmp_path: Path) -> None:
    """Of a copy without packages: what the license is packed by is in setup.py alone."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    code = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        [name] = (name for name in files.namelist() if name.endswith("/LICENSE"))
        assert files.read(name) == (ROOT / "LICENSE").read_bytes()
        [metadata] = (name for name in files.namelist() if name.endswith("/METADATA"))
        assert "Apache-2.0" in files.read(metadata).decode()
    assert (ROOT / "LICENSE").read_text().split("\n", 2)[1].strip() == "Apache License"
