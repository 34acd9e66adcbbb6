"""Where a pipeline keeps what it makes."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from etils import epath

from components.errors import UserError


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
        """What was decided and done; see `components.history`."""
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

    @contextmanager
    def temporary_files(self, run_id: str) -> Iterator[None]:
        """Keeps what TFX and Beam leave in the temporary directory in one of the run's own, removed at its end."""
        directory = self.run(run_id) / "tmp"
        directory.mkdir(parents=True, exist_ok=True)
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = str(directory)
        tempfile.tempdir = None  # read the variable again
        try:
            yield
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before
            tempfile.tempdir = None
            shutil.rmtree(directory, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second run out for as long as this process lives: the system frees the lock of a killed one.

        Raises:
          UserError: another process works here, or the workspace cannot be written.
        """
        try:
            self.local.mkdir(parents=True, exist_ok=True)
            file = (self.local / ".lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"{self.root}: cannot be used as workspace: {error.strerror}. Choose another with --workspace."
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise UserError(
                    f"{self.root}: process {file.read().strip() or 'unknown'} is already running in this workspace. "
                    "Wait for it, or choose another with --workspace."
                ) from None
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield
