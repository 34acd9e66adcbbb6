"""The workspace: the folder or bucket in which a pipeline keeps what it makes."""

import itertools
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from etils import epath

from components.base.errors import UserError, reason, storage_remedy
from components.base.files import in_bucket
from components.base.locks import held, holder_of
from pipeline.process import temporary_files_in

_RUN_LOCK = ".lock"
_WATCH_LOCK = "watch.lock"


def root_path(text: str) -> epath.Path:
    """Returns the directory or bucket that a setting names; of a local directory, the absolute path."""
    return epath.Path(text if "://" in text else os.path.abspath(text))


NO_MODEL = "no model has been pushed yet. `genre run` trains one, and pushes it if it is good enough."


def nothing_there(workspace: "Workspace", what: str = NO_MODEL) -> UserError:
    """Returns the error of a command that finds nothing in a workspace; names other workspaces.

    These are the current directory, and those in `workspace`, there or in a directory above.

    Args:
      workspace: where it looked.
      what: a sentence on what it looked for.
    """
    here = Path.cwd()
    usual = [each / "workspace" for each in (here, *here.parents)]
    folders = [here, *(each for place in usual for each in (place, *sorted(place.glob("*/"))))]
    near = [
        os.path.relpath(each)
        for each in folders
        if (each / "models" / "current.json").is_file() or (each / "history").is_dir()
    ]
    known = (
        f"Other workspaces near: {', '.join(near)}" if near else "There is no other workspace here or in a folder above"
    )
    return UserError(
        f"{workspace.root}: {what} {known}. Choose one with --workspace, GENRE_WORKSPACE, or `workspace` in genre.yaml."
    )


@dataclass(frozen=True)
class Workspace:
    """The files and folders of a workspace. It may lie in a bucket, but runs on this machine need a local one."""

    root: epath.Path

    @property
    def artifacts(self) -> epath.Path:
        """TFX's artifacts."""
        return self.root / "artifacts"

    @property
    def checkpoints(self) -> epath.Path:
        """Checkpoints, from which a training that was killed continues."""
        return self.root / "checkpoints"

    @property
    def history(self) -> epath.Path:
        """Records of decisions and runs; see `components.retraining.history`."""
        return self.root / "history"

    @property
    def metadata(self) -> epath.Path:
        """ML Metadata's sqlite file."""
        return self.root / "metadata.sqlite"

    @property
    def models(self) -> epath.Path:
        """The model store; see `components.store.model_store`."""
        return self.root / "models"

    @property
    def training_logs(self) -> epath.Path:
        """TensorBoard's logs of all trainings, also of the one that runs."""
        return self.artifacts / "Trainer" / "model_run"

    @property
    def reports(self) -> Path:
        """Pages to open: `index.html`, the list of all runs, and `latest.html`, the report of the last one."""
        return self.local / "reports"

    @property
    def set_aside(self) -> epath.Path:
        """Records of spans that the loop does not train on; see `components.library.set_aside`."""
        return self.root / "set-aside"

    @property
    def local(self) -> Path:
        """The root as a local path, for runs on this machine.

        Raises:
          UserError: the workspace lies in a bucket, or has a path that Beam takes for a pattern.
        """
        if in_bucket(self.root):
            raise UserError(
                f"{self.root}: a run on this machine needs a workspace on this machine. Choose one with --workspace, "
                "or compile the pipeline for Kubeflow Pipelines or Vertex AI with `genre compile`."
            )
        if found := re.search(r"[*?\[\\]", str(self.root)):
            raise UserError(
                f"{self.root}: a workspace cannot have {found[0]!r} in its path, because Apache Beam takes that for a "
                "pattern. Choose another with --workspace. The path of --data may have it."
            )
        return Path(self.root)

    def run(self, run_id: str) -> Path:
        """Folder of one run: its log, summary and report."""
        return self.local / "runs" / run_id

    def new_run_id(self) -> str:
        """Returns the time as an id, with a number if another run began in the same second.

        TFX does not run a node a second time under an id that it knows.
        """
        now = time.strftime("%Y%m%d-%H%M%S")
        candidates = itertools.chain([now], (f"{now}-{number}" for number in itertools.count(2)))
        return next(each for each in candidates if not self.run(each).exists())

    @contextmanager
    def temporary_files(self, run_id: str) -> Iterator[None]:
        """Gives the run a temporary directory of its own, for what TFX and Beam leave there; removes it at the end.

        Changes TMPDIR for this process until then. Removes the directories of killed runs, too, so the caller must hold
        the lock of the workspace.
        """
        for left in self.local.glob("runs/*/tmp"):
            shutil.rmtree(left, ignore_errors=True)
        with temporary_files_in(self.run(run_id) / "tmp"):
            yield

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other runs out; the system releases the lock if this process is killed.

        Raises:
          HeldError: another process runs in this workspace.
          UserError: the workspace cannot be written.
        """
        with self._held(_RUN_LOCK, str(os.getpid()), "is already running in this workspace"):
            yield

    @contextmanager
    def watched(self, watcher: str) -> Iterator[None]:
        """Keeps other watchers out; runs that a person starts are not kept out.

        Args:
          watcher: names this process for the others, as "123 on this-host".

        Raises:
          HeldError: another process watches this workspace.
          UserError: the workspace cannot be written.
        """
        with self._held(_WATCH_LOCK, watcher, "watches this workspace"):
            yield

    def runner(self) -> str | None:
        """Returns the process that runs in this workspace, see `locked`; None if there is none."""
        return holder_of(self.local / _RUN_LOCK)

    def watcher(self) -> str | None:
        """Returns the process that watches this workspace, see `watched`; None if there is none."""
        return holder_of(self.local / _WATCH_LOCK)

    @contextmanager
    def _held(self, name: str, owner: str, activity: str) -> Iterator[None]:
        lock = held(self.local / name, owner, activity, "Wait for it, or choose another workspace with --workspace.")
        with ExitStack() as stack:
            try:
                stack.enter_context(lock)
            except OSError as error:  # not those of the block
                remedy = storage_remedy(error) or "Choose another with --workspace."
                raise UserError(f"{self.root}: cannot be used as workspace: {reason(error)}. {remedy}") from error
            yield
