"""Runs a step's command as a Vertex AI custom job, and waits for it. The step's container starts this instead.

Vertex AI Pipelines gives a step some machine that has the CPUs, memory and accelerators that it asks for. A custom job
names its machine, and can take spot machines. The command reads and writes in the bucket only, so it can run anywhere.
The machine that waits may be small.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from google.api_core.client_options import ClientOptions
from google.auth.credentials import Credentials
from google.cloud.aiplatform_v1 import CustomJob, JobServiceClient, JobState
from google.protobuf import json_format

from components.base.errors import UserError
from components.google.client import FAILURES, default_credentials, explained
from components.google.retries import CHANGING, READING, REQUEST_SECONDS, PendingError, until_done
from pipeline.process import exit_on_sigterm

_LABEL = "genre-step"
_LOST = (
    JobState.JOB_STATE_FAILED,
    JobState.JOB_STATE_CANCELLING,
    JobState.JOB_STATE_CANCELLED,
    JobState.JOB_STATE_EXPIRED,
)
_Answer = TypeVar("_Answer")


class _Jobs:
    """Custom jobs of one place."""

    def __init__(self, parent: str, api: str, credentials: Credentials) -> None:
        self._client = JobServiceClient(
            transport="rest", client_options=ClientOptions(api_endpoint=api), credentials=credentials
        )
        self._parent = parent
        self._credentials = credentials

    def found_or_started(self, job: CustomJob) -> str:
        """Returns the name of a job with the label of `job` that is not lost; starts `job` if there is none."""
        request = {"parent": self._parent, "filter": f'labels.{_LABEL}="{job.labels[_LABEL]}"'}
        for found in self._client.list_custom_jobs(request, retry=READING, timeout=REQUEST_SECONDS):
            if found.state not in _LOST:
                return found.name
        return self._client.create_custom_job(
            parent=self._parent, custom_job=job, retry=CHANGING, timeout=REQUEST_SECONDS
        ).name

    def ended(self, name: str, seconds: float) -> CustomJob:
        """Waits for the job to end, and returns it.

        Raises:
          TimeoutError: it has not ended after so many seconds.
        """

        def look() -> CustomJob:
            job = self._client.get_custom_job(name=name, retry=READING, timeout=REQUEST_SECONDS)
            if job.state != JobState.JOB_STATE_SUCCEEDED and job.state not in _LOST:
                raise PendingError(f"it is {job.state.name} after {seconds:g} s (vertex.training.timeout_hours)")
            return job

        return until_done(look, seconds)

    def cancel(self, name: str) -> None:
        """Stops the job, if it has not ended."""
        self._client.cancel_custom_job(name=name, retry=READING, timeout=REQUEST_SECONDS)

    def explained(self, what: str, call: Callable[[], _Answer]) -> _Answer:
        """Returns what `call` returns.

        Raises:
          UserError: it fails; the message begins with `what`.
        """
        try:
            return call()
        except FAILURES as error:
            raise UserError(f"{what}: {explained(error, self._parent.split('/')[1], self._credentials)}") from error


def run_custom_job(
    job: dict[str, Any], command: Sequence[str], parent: str, api: str, credentials: Credentials | None = None
) -> str:
    """Runs `command` as a custom job to its end; cancels the job if this is interrupted.

    A job that an earlier attempt started with the same command is not started again, but waited for.

    Args:
      job: a `CustomJob` of Vertex AI's API, as JSON, without the command.
      parent: projects/PROJECT/locations/REGION.
      api: URL of Vertex AI there.
      credentials: None: those that this machine has by itself.

    Returns:
      Resource name of the job.

    Raises:
      UserError: it cannot be started, has failed, or has not ended in time.
    """
    wanted = CustomJob()
    json_format.ParseDict(job, CustomJob.pb(wanted))
    wanted.job_spec.worker_pool_specs[0].container_spec.command = list(command)
    # In the command are the addresses of the step's outputs: no other step has the same, in no other run either.
    wanted.labels[_LABEL] = hashlib.sha256(json.dumps(list(command)).encode()).hexdigest()[:40]
    jobs = _Jobs(parent, api, credentials or default_credentials())
    name = jobs.explained(f"custom job {wanted.display_name} cannot be started", lambda: jobs.found_or_started(wanted))
    print(f"custom job {name}", flush=True)
    try:
        seconds = wanted.job_spec.scheduling.timeout.total_seconds()
        ended = jobs.explained(f"custom job {name} cannot be waited for", lambda: jobs.ended(name, seconds))
    except BaseException:
        with suppress(*FAILURES):  # the error to report is why it is cancelled
            jobs.cancel(name)
        raise
    if ended.state != JobState.JOB_STATE_SUCCEEDED:
        state = ended.state.name.removeprefix("JOB_STATE_").lower()
        raise UserError(
            f"custom job {name} is {state}: {ended.error.message or 'Vertex AI does not say why'}. Its log: "
            f"gcloud ai custom-jobs stream-logs {name}"
        )
    return name


def main(arguments: Sequence[str]) -> int:
    """Runs the command after `--` as the custom job that the other arguments describe; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.remote.custom_job", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--job", type=json.loads, required=True, help="CustomJob as JSON, without its command")
    parser.add_argument("--parent", required=True, help="projects/PROJECT/locations/REGION")
    parser.add_argument("--api", required=True, help="URL of Vertex AI there")
    parser.add_argument("command", nargs="+")
    known = parser.parse_args(arguments)
    try:
        with exit_on_sigterm():  # the signal that a cancelled run sends to its steps: the job must end with this step
            run_custom_job(known.job, known.command, known.parent, known.api)
    except UserError as error:
        print(f"genre: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
