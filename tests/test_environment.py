"""Metadata, locks and installation agree; `genre --help` stays light; nothing tracked knows where it was made."""

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from pipeline.cli import GROUPS, cli

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
    assert "Train:" in process.stdout
    assert process.stderr == "\n"


def commands(group: click.Group = cli, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that can be run, with the words that name it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))
        else:
            yield (*above, name), command


def test_help_lists_every_command_in_a_group_with_an_example_that_is_one() -> None:
    assert {name for group in GROUPS.values() for name in (each.name for each in group)} == set(cli.commands)
    for group in GROUPS.values():
        for command, example in group.items():
            program, *words = shlex.split(example)
            assert (program, words[0]) == ("genre", command.name)
            assert f"Example: {example}" in CliRunner().invoke(cli, [command.name, "--help"], terminal_width=200).output
            above, found, context = cli, command, cli.make_context("genre", words)
            while isinstance(above, click.Group):
                name, found, words = above.resolve_command(context, words)
                context, above = found.make_context(name, list(words), parent=context), found
            assert context.command is found


def test_every_command_can_be_quiet_or_verbose() -> None:
    for words, command in commands():
        options = {name for parameter in command.params for name in parameter.opts}
        assert {"--quiet", "--verbose"} <= options, words


def test_a_shell_completes_the_commands() -> None:
    completing = {"_GENRE_COMPLETE": "bash_complete", "COMP_WORDS": "genre re", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['genre']; from pipeline.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | completing, capture_output=True, text=True)
    assert done.stdout.split() == ["plain,retrain"]


@pytest.mark.parametrize(
    ("package", "remedy"),
    [
        ("tensorflow_metadata", "pip install --no-deps --require-hashes -r requirements.lock"),
        ("google.api_core", "pip install --no-deps --require-hashes -r requirements.lock"),
        ("tf2onnx", "pip install '.[export]'"),
    ],
)
def test_what_lacks_is_said(package: str, remedy: str) -> None:
    """As where only what predicts is installed."""
    code = """if True:
        import importlib.abc, sys, click
        class Missing(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name == missing:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        missing = sys.argv.pop()
        sys.meta_path.insert(0, Missing())
        import importlib.util
        real = importlib.util.find_spec
        importlib.util.find_spec = lambda name: None if name == missing else real(name)
        from pipeline.cli import run_command
        run_command(click.Command("x", callback=lambda: __import__(missing)), "genre")
    """
    done = subprocess.run([sys.executable, "-c", code, package], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"genre: this needs the Python package {package}, which is not installed" in done.stderr
    assert remedy in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fault_of_ours_is_no_lack() -> None:
    code = "import click; from pipeline.cli import run_command; run_command(click.Command('x', callback=work), 'genre')"
    for missing in ("pipeline.nothing", "rich.nothing"):
        work = f"def work():\n    import {missing}\n"
        done = subprocess.run([sys.executable, "-c", work + code], capture_output=True, text=True)
        assert f"ModuleNotFoundError: No module named '{missing}'" in done.stderr


# --- A Python to begin with ---------------------------------------------------------------------------------------


@pytest.fixture
def find_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs `.ci/python` with nothing on the path but a shell's tools and some scripts, by name."""

    def run(**scripts: str) -> subprocess.CompletedProcess:
        for tool in ("sh", "mktemp", "rm", "sed", "tail", "cat"):
            (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
        for name, script in scripts.items():
            path = tmp_path / name.replace("_", ".")
            path.write_text(f"#!{shutil.which('sh')}\n{script}\n")
            path.chmod(0o755)
        command = [ROOT / ".ci" / "python", ROOT / DEVELOPMENT, "python3.11", "python3"]
        return subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True)

    return run


def test_make_takes_the_python_that_is_there(find_python: Callable, tmp_path: Path) -> None:
    done = find_python(python3_11="exit 0", uv="exit 9")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path}/python3.11\n", "")


def test_make_takes_python3_if_it_is_3_11(find_python: Callable, tmp_path: Path) -> None:
    done = find_python(python3="exit 0")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/python3\n")


def test_make_has_uv_get_python_and_says_so(find_python: Callable) -> None:
    uv = 'case "$1 $2" in "python find") echo /managed/bin/python3.11;; "python dir") echo /managed;; esac'
    done = find_python(python3="exit 1", uv=uv)
    assert (done.returncode, done.stdout) == (0, "/managed/bin/python3.11\n")
    assert "No Python 3.11 here that can make environments (tried python3.11 python3)" in done.stderr
    assert "uv gets Python 3.11, 30 MB, and keeps it in /managed" in done.stderr


def test_make_gets_the_locked_uv_where_there_is_none(find_python: Callable) -> None:
    """`python3 -m pip install --target`, of another version of Python."""
    python = """
        case "$1 $2" in
        "-m pip")
            while [ "$1" != --target ]; do shift; done
            cat "$4" >&2; target=$2
            mkdir="$PATH"; /bin/mkdir -p "$target/bin"
            printf '#!/bin/sh\\n[ "$2" = find ] && echo /managed/python3.11; exit 0\\n' > "$target/bin/uv"
            /bin/chmod +x "$target/bin/uv";;
        *) exit 1;;
        esac"""
    done = find_python(python3=python)
    assert (done.returncode, done.stdout) == (0, "/managed/python3.11\n"), done.stderr
    assert f"Getting uv, as locked in {ROOT / DEVELOPMENT}" in done.stderr


def test_make_says_what_to_do_where_nothing_works(find_python: Callable) -> None:
    done = find_python(uv='echo "no network" >&2; [ "$1" = --version ]')
    assert (done.returncode, done.stdout) == (1, "")
    assert "no network" in done.stderr
    assert done.stderr.endswith("Python 3.11 could not be had. Install it, or say where it is: make PYTHON=...\n")


def test_make_says_what_debian_leaves_out(find_python: Callable) -> None:
    done = find_python(python3_11='case "$2" in *venv) exit 1;; esac')
    assert done.returncode == 1
    assert "python3.11 cannot make environments. On Debian or Ubuntu: apt install python3.11-venv" in done.stderr


def test_make_run_needs_no_more_than_runs_do_and_make_test_keeps_it() -> None:
    def plan(target: str, *made: str) -> str:
        """What make would do, where these files are made already, and newer than all else."""
        old = [word for name in made for word in ("-o", f"nowhere/{name}")]
        command = ["make", "--dry-run", "VENV=nowhere", *old, target]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert f"-r {RUNTIME}" in plan("run", ".made")
    assert f"-r {DEVELOPMENT}" in plan("lint", ".made")
    assert "Installing" not in plan("run", ".made", ".runtime")
    assert f"-r {DEVELOPMENT}" in plan("lint", ".made", ".runtime")


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
