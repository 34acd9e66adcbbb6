"""The machine and the commit of a measurement."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from components.base.section import Section

_SHOWN = ("tensorflow", "tfx", "apache-beam", "librosa", "numpy", "soundfile")


class Machine(Section):
    """A machine, and the versions of the libraries that compute."""

    processor: str
    cores: int
    memory_gib: float
    system: str
    python: str
    versions: dict[str, str]


def this_machine() -> Machine:
    """Describes the machine that this runs on."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=f"{platform.system()} {platform.release().partition('-')[0]}",
        python=platform.python_version(),
        versions={package: importlib.metadata.version(package) for package in _SHOWN},
    )


def _processor() -> str:
    """Returns the name of the processor, as far as the system gives one."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def commit_of(root: Path) -> str:
    """Returns the commit that is checked out at `root`, with a + if files differ from it; "unknown" without git."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
