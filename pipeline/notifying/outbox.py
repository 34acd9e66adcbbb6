"""Messages on their way: kept as files until they are delivered, so that neither a kill nor a dead server loses one.

<workspace>/outbox/<time>-<id>.json   a message, and where it still has to go

A message may arrive twice, if this process is killed after it was sent: its id tells.
"""

import http.client
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from etils import epath

from components.base.errors import UserError
from components.base.files import remove
from components.base.json_records import read_record, record_files, write_record
from components.base.locks import HeldError, held, this_process
from components.base.section import Section
from components.base.times import Time, timestamp
from pipeline.notifying.config import Event, NotifyConfig, masked

ANSWER_SECONDS = 10.0
"""Longest wait for a server's answer, and for a command to end."""
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 3600.0
"""Seconds before a message is sent again; twice as long before each further time."""
_KEPT = timedelta(days=7)
"""Time after which a message that nobody takes is thrown away."""
_AGENT = "genre-pipeline"
_ELSEWHERE = "another process delivers messages"

Way = Literal["url", "command"]
_WAYS: tuple[Way, ...] = get_args(Way)


class Message(Section):
    """What is sent, as JSON."""

    event: Event
    text: str
    """One sentence; chat services such as Slack and Mattermost show this key."""
    workspace: str
    time: Time
    id: str
    """The same if a message is sent twice."""
    span: int | None = None
    """The newest span of the run."""
    run: str | None = None
    version: int | None = None
    """That was pushed."""
    accuracy: float | None = None
    """Of the candidate on the test clips, from 0 to 1."""
    reasons: tuple[str, ...] = ()
    report: str | None = None
    """Address of the page, as file://."""
    log: str | None = None


class Posted(Section):
    """A message, and the ways that it has not gone yet."""

    message: Message
    ways: tuple[Way, ...]


def message(event: Event, text: str, workspace: str, **more: Any) -> Message:
    """Makes a message of now."""
    now = timestamp(datetime.now(UTC))
    return Message(event=event, text=text, workspace=workspace, time=now, id=uuid.uuid4().hex, **more)


class Outbox:
    """The messages of a workspace that are not delivered yet."""

    def __init__(self, workspace: Path, config: NotifyConfig, log: Callable[[str], None]) -> None:
        """Takes the workspace, and a function that is told, from another thread, what cannot be delivered."""
        self._directory = epath.Path(workspace / "outbox")
        self._log = log
        self._thread: threading.Thread | None = None
        self._new = threading.Event()
        self.config = config
        """May be changed at any time."""

    def put(self, message: Message) -> None:
        """Keeps a message until it is delivered, if its event is one that is asked for. A full disk is only logged."""
        ways: tuple[Way, ...] = tuple(way for way in _WAYS if getattr(self.config, way))
        if not ways or message.event not in self.config.events:
            return
        name = f"{time.time_ns()}-{message.id}.json"  # the order in which they are sent
        try:
            write_record(self._directory / name, Posted(message=message, ways=ways))
        except OSError as error:
            self._log(f"a message could not be kept: {error}")
        self._new.set()

    def deliver(self, patience: float) -> None:
        """Delivers what is there, for `patience` seconds at most; what is left then is delivered another time."""
        self.start(patience)
        if self._thread:
            self._thread.join(patience)

    def start(self, patience: float) -> None:
        """Begins to deliver what is there, in another thread, unless one is at it; for so many seconds at most."""
        if (self._thread and self._thread.is_alive()) or not self._directory.exists():
            return
        self._thread = threading.Thread(target=self._deliver, args=(patience,), daemon=True, name="outbox")
        self._thread.start()

    def _deliver(self, patience: float) -> None:
        end, wait = time.monotonic() + patience, _FIRST_WAIT
        told: set[str] = set()
        self._new.clear()
        while problems := self._pass():
            for problem in problems - told - {_ELSEWHERE}:
                self._log(problem)
            told |= problems
            if time.monotonic() + wait > end:
                return
            wait = min(2 * wait, _LONGEST_WAIT)
            if self._new.wait(wait / 2):
                self._new.clear()
                wait = _FIRST_WAIT

    def _pass(self) -> set[str]:
        """Tries to deliver every message once; returns what went wrong."""
        problems: set[str] = set()
        try:
            with held(Path(self._directory) / ".lock", this_process(), "delivers messages"):
                for file in record_files(self._directory):
                    problems |= self._try(file)
        except HeldError:
            return {_ELSEWHERE}
        except OSError as error:
            return {f"{self._directory}: {error}"}
        return problems

    def _try(self, file: epath.Path) -> set[str]:
        try:
            posted = read_record(file, Posted, "It is removed.")
        except UserError as error:
            self._log(str(error))
            remove(file)
            return set()
        problems = {way: problem for way in posted.ways if (problem := self._send(way, posted.message))}
        old = datetime.now(UTC) - datetime.fromisoformat(posted.message.time) > _KEPT
        if not problems or old:
            remove(file)
        elif len(problems) < len(posted.ways):
            write_record(file, posted.model_copy(update={"ways": tuple(problems)}))
        return {f"notify.{way}: {problem}{'; given up' if old else ''}" for way, problem in problems.items()}

    def _send(self, way: Way, message: Message) -> str:
        """Sends a message; returns what went wrong, or nothing."""
        body = message.model_dump_json().encode()
        config = self.config
        if way == "url" and config.url:
            return _post(config.url, body)
        if way == "command" and config.command:
            return _run(config.command, body)
        return ""  # the setting was taken back


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows what keeps the message: 307 and 308. The others would be asked for by GET, and the message lost."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Sends the message to the new address; returns None where it must not go."""
        if code not in (307, 308) or not newurl.startswith(("https://", f"{req.type}://")):
            return None
        return urllib.request.Request(newurl, req.data, req.headers, method="POST")


def _post(url: str, body: bytes) -> str:
    headers = {"Content-Type": "application/json", "User-Agent": _AGENT}
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        with urllib.request.build_opener(_Redirects).open(request, timeout=ANSWER_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        problem = f"{masked(url)} answered {error.code} {error.reason}"
        if error.code // 100 != 3:
            return problem
        place = masked(error.headers.get("Location") or "no address")
        return f"{problem}: not delivered, as it is elsewhere ({place}). Set notify.url to the address that takes it"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{masked(url)}: {getattr(error, 'reason', None) or error or type(error).__name__}"


def _run(command: str, body: bytes) -> str:
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a group of its own: it can be killed with all that it started
    )
    try:
        with suppress(BrokenPipeError):  # it does not read
            process.communicate(body, ANSWER_SECONDS)
        code = process.wait(ANSWER_SECONDS)
        return f"{masked(command)!r} ended with exit code {code}" if code else ""
    except subprocess.TimeoutExpired:
        return f"{masked(command)!r} did not end within {ANSWER_SECONDS:g} s"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
