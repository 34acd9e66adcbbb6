"""Where a pipeline keeps what it makes."""

import itertools
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from etils import epath

from components.base.errors import UserError, storage_remedy
from components.base.locks import HeldError, held, holder_of
from pipeline.process import temporary_files_in

_RUN_LOCK = ".lock"
_WATCH_LOCK = "watch.lock"


class OccupiedError(UserError):
    """Another process holds the lock of a workspace."""

    def __init__(self, message: str, holder: str) -> None:
        """Says so to a person; `holder` is that process."""
        super().__init__(message)
        self.holder = holder


def root_path(text: str) -> epath.Path:
    """The directory or bucket that a setting names; a local one from the root of the file system."""
    return epath.Path(text if "://" in text else os.path.abspath(text))


@dataclass(frozen=True)
class Workspace:
    """The files and folders of a workspace, which may lie in a bucket; runs on this machine need a local one."""

    root: epath.Path

    @property
    def artifacts(self) -> epath.Path:
        """TFX's artifacts."""
        return self.root / "artifacts"

    @property
    def checkpoints(self) -> epath.Path:
        """Where a killed training is taken up again."""
        return self.root / "checkpoints"

    @property
    def history(self) -> epath.Path:
        """What was decided and done; see `components.retraining.history`."""
        return self.root / "history"

    @property
    def metadata(self) -> epath.Path:
        """ML Metadata's sqlite file."""
        return self.root / "metadata.sqlite"

    @property
    def models(self) -> epath.Path:
        """The model store: what is served."""
        return self.root / "models"

    @property
    def set_aside(self) -> epath.Path:
        """Records of spans that the loop leaves out; see `components.library.set_aside`."""
        return self.root / "set-aside"

    @property
    def local(self) -> Path:
        """The workspace of a run on this machine.

        Raises:
          UserError: it lies in a bucket.
        """
        if "://" in str(self.root):
            raise UserError(
                f"{self.root}: a run on this machine needs its workspace on this machine. Choose one with --workspace, "
                "or compile the pipeline for where it is to run: `genre compile`."
            )
        return Path(self.root)

    def run(self, run_id: str) -> Path:
        """Log, summary and report of one run."""
        return self.local / "runs" / run_id

    def new_run_id(self) -> str:
        """The time, and a number where another run began in the same second: TFX runs no node of a run twice."""
        now = time.strftime("%Y%m%d-%H%M%S")
        candidates = itertools.chain([now], (f"{now}-{number}" for number in itertools.count(2)))
        return next(each for each in candidates if not self.run(each).exists())

    @contextmanager
    def temporary_files(self, run_id: str) -> Iterator[None]:
        """Keeps what TFX and Beam leave in the temporary directory in one of the run's own, removed at its end.

        Those of killed runs are removed, too: the workspace is `locked`.
        """
        for left in self.local.glob("runs/*/tmp"):
            shutil.rmtree(left, ignore_errors=True)
        with temporary_files_in(self.run(run_id) / "tmp"):
            yield

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second run out for as long as this process lives: the system frees the lock of a killed one.

        Raises:
          OccupiedError: another process works here.
          UserError: the workspace cannot be written.
        """
        with self._held(_RUN_LOCK, str(os.getpid()), "is already running in"):
            yield

    @contextmanager
    def watched(self, watcher: str) -> Iterator[None]:
        """Keeps a second watcher out, likewise; runs by hand are not kept out.

        Args:
          watcher: who it is, for the others: a process, as "123 on this-host".

        Raises:
          OccupiedError: another process watches this workspace.
          UserError: the workspace cannot be written.
        """
        with self._held(_WATCH_LOCK, watcher, "watches"):
            yield

    def runner(self) -> str | None:
        """The process that has `locked` it, if one has and lives."""
        return holder_of(self.local / _RUN_LOCK)

    def watcher(self) -> str | None:
        """The process that has it `watched`, if one has and lives."""
        return holder_of(self.local / _WATCH_LOCK)

    @contextmanager
    def _held(self, name: str, owner: str, does: str) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(held(self.local / name, owner))
            except HeldError as error:
                raise OccupiedError(
                    f"{self.root}: process {error.holder} {does} this workspace. Wait for it, or choose another with "
                    "--workspace.",
                    error.holder,
                ) from None
            except OSError as error:
                remedy = storage_remedy(error) or "Choose another with --workspace."
                raise UserError(f"{self.root}: cannot be used as workspace: {error.strerror}. {remedy}") from error
            yield
