"""`genre watch`: real processes, signals, locks and files; what a run does is played by small programs."""

import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from etils import epath

from components.base.errors import UserError
from components.base.locks import HeldError
from components.base.times import timestamp
from components.retraining.history import read_history
from components.retraining.policy import Decision, Facts
from pipeline.cli import cli
from pipeline.notifying.config import NotifyConfig
from pipeline.watching.status import Status, read_status, status_in_words, trouble
from pipeline.watching.watcher import Log, Outlook, Watcher
from pipeline.workspace import Workspace

SERVICE = """
import sys
from datetime import UTC, datetime
from pathlib import Path

from etils import epath

from components.retraining.config import RetrainConfig
from components.base.errors import UserError
from components.retraining.history import gather_facts, read_history
from components.retraining.policy import decide
from pipeline.watching.watcher import Log, Outlook, Watcher
from pipeline.workspace import Workspace

root, interval, *command = sys.argv[1:]
workspace = Workspace(epath.Path(root))

def prospect():
    try:
        span = int(Path(root, "span").read_text())
    except FileNotFoundError:
        raise UserError("there is no span yet") from None
    history, now = read_history(workspace.history), datetime.now(UTC)
    facts = gather_facts(history, f"candidate-{span}", {span: 40}, None, (), (), None, now)
    return Outlook("/data", facts, decide(RetrainConfig(), facts, None))

Watcher(workspace, prospect, command, Log(1), float(interval)).run()
"""
"""The rules and the history are the real ones; a file takes the place of a library."""

BEGIN = """
import os, signal, subprocess, sys, time
from datetime import UTC, datetime
from pathlib import Path

from etils import epath

from components.retraining.history import Outcome, note_decision, note_outcome
from components.retraining.policy import Decision, Facts

root = Path(sys.argv[1])
history, span, now = epath.Path(root / "history"), int((root / "span").read_text()), datetime.now(UTC)
facts = Facts(candidate=f"candidate-{span}", span=span, window=(span,), champion=None, new_clips=40)
note_decision(history, "/data", facts, None, Decision(action="retrain", reasons=("no model is served yet",)), now)
"""
"""How a run begins: with its account."""

SUCCEED = f"""{BEGIN}
print("Trainer done", flush=True)
outcome = Outcome(time=now.isoformat(), blessed=True, reasons=(), version=1, accuracy=0.9)
note_outcome(history, facts.candidate, outcome)
"""
HANG = f"""{BEGIN}
signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
(root / "alive.new").write_text(f"{{os.getpid()}} {{other.pid}}")
(root / "alive.new").rename(root / "alive")
time.sleep(100)
"""
Start = Callable[..., subprocess.Popen]


def until(holds: Callable[[], object]) -> None:
    """Waits for what must come some day."""
    give_up = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < give_up, "it did not come"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(epath.Path(tmp_path / "workspace"))


@pytest.fixture
def start(workspace: Workspace) -> Iterator[Start]:
    """Starts a service in a process of its own, whose runs are a Python program."""
    services = []

    def make(program: str, interval: float = 0.05, log: str = "log", **how) -> subprocess.Popen:
        workspace.local.mkdir(exist_ok=True)
        command = [sys.executable, "-c", SERVICE, workspace.local, str(interval)]
        command += [sys.executable, "-c", program, str(workspace.local)]
        with (workspace.local / log).open("wb") as file:
            services.append(subprocess.Popen(command, **{"stdout": file, "stderr": file} | how))
        return services[-1]

    yield make
    for service in services:
        if service.poll() is None:
            service.kill()
            service.wait()


def log_of(workspace: Workspace, name: str = "log") -> list[str]:
    """Events without their times."""
    return [line.partition(" ")[2] for line in (workspace.local / name).read_text().splitlines()]


def arrive(workspace: Workspace, span: int) -> None:
    workspace.local.mkdir(exist_ok=True)
    (workspace.local / "span.new").write_text(str(span))
    (workspace.local / "span.new").rename(workspace.local / "span")


def state(workspace: Workspace) -> str:
    status = read_status(workspace)
    return status.state if status else ""


def stop(service: subprocess.Popen) -> None:
    service.send_signal(signal.SIGTERM)
    assert service.wait(60) == 0


def test_a_span_is_trained_on_once_and_the_log_tells(workspace: Workspace, start: Start) -> None:
    arrive(workspace, 5)
    service = start(SUCCEED)
    idle = "idle: span 5: this data with these settings was judged before: pushed as version 1"
    until(lambda: idle in log_of(workspace))
    polled = read_status(workspace).polled
    until(lambda: read_status(workspace).polled > polled)  # the same again and again: nothing more in the log
    told = log_of(workspace)
    assert told[1:3] == ["running: span 5: retrain: no model is served yet", "run: span 5: Trainer done"]
    assert told[3].startswith("done: span 5: after ")
    assert told[4:] == [idle]
    status = read_status(workspace)
    assert (status.state, status.span, status.failures, status.child) == ("idle", 5, 0, None)
    assert trouble(workspace, status, datetime.now(UTC)) is None
    arrive(workspace, 6)
    until(lambda: any(line.startswith("done: span 6") for line in log_of(workspace)))
    stop(service)
    assert [len(record.started) for record in read_history(workspace.history)] == [1, 1]
    assert log_of(workspace)[-1] == "stopped: by SIGTERM"


def test_of_two_watchers_one_works_and_the_other_takes_over_when_it_is_killed(
    workspace: Workspace, start: Start
) -> None:
    arrive(workspace, 5)
    first = start(HANG)
    until((workspace.local / "alive").exists)
    run, _ = map(int, (workspace.local / "alive").read_text().split())
    until(lambda: read_status(workspace).child == run)
    second = start(HANG, log="second")
    until(lambda: log_of(workspace, "second"))
    holder = read_status(workspace).watcher
    assert holder.startswith(f"{first.pid} on ")
    assert log_of(workspace, "second") == [f"waiting: process {holder} watches {workspace.root}"]
    assert read_status(workspace).pid == first.pid
    (workspace.local / "alive").unlink()
    first.kill()
    first.wait()
    until((workspace.local / "alive").exists)
    until(lambda: read_status(workspace).child)
    until(lambda: not lives(run))
    assert log_of(workspace, "second")[1].endswith(f"; process {holder} died while it was running")
    assert read_status(workspace).pid == second.pid
    (record,) = read_history(workspace.history)
    assert (len(record.started), record.failures) == (1, ())  # the same run, taken up again


def test_the_second_watcher_stops_while_it_waits(workspace: Workspace, start: Start) -> None:
    with workspace.watched("7 on elsewhere since yesterday"):
        service = start(SUCCEED)
        until(lambda: log_of(workspace))
        stop(service)
    assert "process 7 on elsewhere since yesterday watches" in log_of(workspace)[0]
    assert read_status(workspace) is None


def test_a_watcher_that_stops_kills_its_run_with_all_that_it_started(workspace: Workspace, start: Start) -> None:
    arrive(workspace, 5)
    service = start(HANG)
    until((workspace.local / "alive").exists)
    processes = list(map(int, (workspace.local / "alive").read_text().split()))
    assert all(map(lives, processes))
    stop(service)
    until(lambda: not any(map(lives, processes)))
    assert state(workspace) == "stopped"
    assert read_status(workspace).child is None
    (record,) = read_history(workspace.history)
    assert (record.failures, record.outcome) == ((), None)  # it was not the candidate's fault
    assert [line.split(":")[0] for line in log_of(workspace)[-2:]] == ["interrupted", "stopped"]
    assert "Start `genre watch`" in trouble(workspace, read_status(workspace), datetime.now(UTC))


def test_failures_are_repeated_ever_later_and_forgotten_at_the_next_span(workspace: Workspace, start: Start) -> None:
    arrive(workspace, 5)
    program = """
import sys, time
from pathlib import Path
if Path(sys.argv[1], "repaired").exists():
    Path(sys.argv[1], "span").unlink()
else:
    with Path(sys.argv[1], "tried").open("a") as file:
        print(time.monotonic(), file=file)
    sys.exit("genre: the disk is full\\nMake room.")
"""
    service = start(program, interval=0.2)
    until(lambda: read_status(workspace) and read_status(workspace).failures >= 4)
    status = read_status(workspace)
    assert (status.state, status.error) == ("backing off", "the disk is full\nMake room.")
    assert "4 failures in a row, the last: the disk is full" in trouble(workspace, status, datetime.now(UTC))
    assert "failed: span 5: the disk is full | Make room." in log_of(workspace)
    times = list(map(float, (workspace.local / "tried").read_text().split()))
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(waited >= 0.2 * 2**tries for tries, waited in enumerate(waits[:3]))
    arrive(workspace, 6)
    until(lambda: any(line.startswith("failed: span 6:") for line in log_of(workspace)))
    until(lambda: log_of(workspace)[-1].startswith("backing off: 1 failure in a row; "))
    (workspace.local / "repaired").touch()
    until(lambda: any(line.startswith("done: span 6") for line in log_of(workspace)))
    until(lambda: read_status(workspace).error == "there is no span yet")  # a poll that fails is told, too
    assert read_status(workspace).failures == 1
    stop(service)


def test_what_is_always_killed_is_given_up(workspace: Workspace, start: Start) -> None:
    arrive(workspace, 5)
    service = start(f"{BEGIN}\nprint('all memory', file=sys.stderr, flush=True)\nos.kill(os.getpid(), 9)")
    until(lambda: read_status(workspace) and read_status(workspace).decision == "wait")
    (reason,) = read_status(workspace).reasons
    words = "killed by signal 9 (Killed, perhaps by the system, which had no memory left); its last lines: all memory"
    assert reason.startswith(f"given up after 3 failures, the last: {words}")
    (record,) = read_history(workspace.history)
    assert [failure.reason for failure in record.failures] == [words] * 3
    until(lambda: state(workspace) == "idle")
    stop(service)


def test_a_run_by_hand_is_waited_for(workspace: Workspace, start: Start) -> None:
    arrive(workspace, 5)
    with workspace.locked():
        service = start(SUCCEED)
        until(lambda: state(workspace) == "waiting")
        assert read_status(workspace).runner == str(os.getpid())
        assert log_of(workspace)[1:] == [f"waiting: span 5: process {os.getpid()} is running in {workspace.root}"]
    until(lambda: any(line.startswith("done: span 5") for line in log_of(workspace)))
    assert not any(line.startswith("failed") for line in log_of(workspace))
    stop(service)


def test_a_run_that_was_beaten_to_it_did_not_fail(workspace: Workspace, start: Start) -> None:
    """Somebody starts a run by hand between the watcher's look and its own run."""
    arrive(workspace, 5)
    program = """
import subprocess, sys, time
from pathlib import Path
hold = "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); "
command = [sys.executable, "-c", hold + "time.sleep(100)", f"{sys.argv[1]}/.lock"]
if not Path(sys.argv[1], "pid").exists():
    other = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)
    other.stdout.readline()
    Path(sys.argv[1], "pid").write_text(str(other.pid))
    sys.exit("already running")
"""
    service = start(program)
    until(lambda: state(workspace) == "waiting")
    assert not any(line.startswith("failed") for line in log_of(workspace))
    os.kill(int((workspace.local / "pid").read_text()), signal.SIGKILL)
    until(lambda: any(line.startswith("done: span 5") for line in log_of(workspace)))
    stop(service)


def test_a_full_disk_is_told_and_outlived(workspace: Workspace, start: Start) -> None:
    arrive(workspace, 5)
    program = "import sys; sys.exit('may not be started')"
    unlimited = resource.RLIM_INFINITY
    reader, writer = os.pipe()  # a log that needs no disk
    with os.fdopen(reader) as log:
        told = (line.partition(" ")[2].strip() for line in log)
        with os.fdopen(writer, "wb") as sink, workspace.locked():
            service = start(program, stdout=sink)
            until(lambda: state(workspace) == "waiting")
            resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (0, unlimited))
            failed = next(line for line in told if line.startswith("failed"))
        assert failed.endswith(f"{workspace.local}/watch.json: the status cannot be written: File too large")
        before = read_status(workspace)
        next(line for line in told if line.startswith("backing off: 3 failures"))
        assert read_status(workspace) == before
        until(lambda: not list(workspace.local.glob(".watch.json*")))
        assert service.poll() is None
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
        assert next(line for line in told if line.startswith("running")).startswith("running: span 5")
        stop(service)


def test_whoever_reads_the_status_finds_it_whole(workspace: Workspace, start: Start) -> None:
    arrive(workspace, 5)
    service = start(SUCCEED, interval=0.001)
    until((workspace.local / "watch.json").exists)
    until(lambda: read_status(workspace).decision == "wait")  # raises if it is not
    for _ in range(500):
        assert read_status(workspace).pid == service.pid
    stop(service)


def test_nobody_need_read_the_log(workspace: Workspace, start: Start) -> None:
    arrive(workspace, 5)
    service = start("print('x' * 200000)", stdout=subprocess.PIPE)
    service.stdout.close()
    until(lambda: read_status(workspace) and read_status(workspace).polled)
    stop(service)
    assert state(workspace) == "stopped"


def test_polls_that_fail_are_repeated_ever_later(workspace: Workspace) -> None:
    def prospect() -> None:
        raise KeyError("nobody foresaw this")

    watcher = Watcher(workspace, prospect, [], Log(None), 60.0)
    assert [watcher.turn() for _ in range(6)] == [60, 120, 240, 480, 600, 600]
    status = read_status(workspace)
    assert (status.state, status.failures) == ("backing off", 6)
    assert "KeyError: 'nobody foresaw this'" in status.error


def test_a_failure_is_told_once_and_a_server_that_hangs_does_not_stop_the_loop(
    workspace: Workspace, service: Any
) -> None:
    service.on("POST", "/hook", (200, {}, 3600.0), (200, {}))
    failures = iter(["no library", "no library", "no space", "no library"])

    def prospect() -> None:
        raise UserError(next(failures))

    watcher = Watcher(workspace, prospect, [], Log(None), 60.0, NotifyConfig(url=f"{service.url}/hook"))
    assert [watcher.turn() for _ in range(4)] == [60, 120, 240, 480]
    kept = sorted((workspace.local / "outbox").glob("*.json"))
    assert sorted(json.loads(file.read_text())["message"]["reasons"][0] for file in kept) == [
        "no library",
        "no library",
        "no space",
    ]
    until(lambda: service.asked)
    assert service.asked[0].body["event"] == "failed"


def test_the_log_may_be_json(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        Log(file.fileno(), as_json=True)("failed", "two\nlines", 5)
    (line,) = (tmp_path / "log").read_text().splitlines()
    entry = json.loads(line)
    assert datetime.fromisoformat(entry.pop("time")).utcoffset() == timedelta(0)
    assert entry == {"event": "failed", "span": 5, "text": "two\nlines"}


def status_of(workspace: Workspace, minutes_ago: float, **what) -> Status:
    then = timestamp(datetime.now(UTC) - timedelta(minutes=minutes_ago))
    status = Status(**{"state": "idle", "since": then, "pid": 7, "host": "h", "started": then, "interval": 60.0} | what)
    workspace.local.mkdir(exist_ok=True)
    (workspace.local / "watch.json").write_text(status.model_dump_json())
    return status


def genre_watch(workspace: Workspace, *options: str) -> tuple[str, str]:
    done = CliRunner().invoke(cli, ["watch", "--workspace", str(workspace.root), *options])
    if done.exception and not isinstance(done.exception, UserError):
        raise done.exception
    return done.output, str(done.exception or "")


def test_status_for_a_person_and_a_monitor(workspace: Workspace) -> None:
    never = "no process watches this workspace, and none has. Start `genre watch`."
    assert never in genre_watch(workspace, "--status")[1]
    status = status_of(workspace, 1, span=5, decision="wait", reasons=("no drift", "quiet"), candidate="c", served=3)
    told, wrong = genre_watch(workspace, "--status")
    assert told == "\n".join(status_in_words(status)) + "\n"
    assert "span 5: wait\n  no drift\n  quiet\n" in told
    assert "served: version 3" in told
    assert f"process {status.watcher} died while it was idle" in wrong
    with workspace.watched(status.watcher):
        assert genre_watch(workspace, "--status")[1] == ""
        polled = timestamp(datetime.now(UTC) - timedelta(minutes=4))
        status_of(workspace, 1, polled=polled, started=status.started)
        assert "hangs: its last poll was at" in genre_watch(workspace, "--status")[1]
        status_of(workspace, 600, state="running", started=status.started)
        assert genre_watch(workspace, "--status")[1] == ""
        status_of(workspace, 1, pid=8)
        assert "has not written its status" in genre_watch(workspace, "--status")[1]
    (workspace.local / "watch.json").write_text("{")
    assert "watch.json: damaged" in genre_watch(workspace, "--status")[1]


def test_what_does_not_mend_itself_ends_it_at_once(workspace: Workspace) -> None:
    assert "nme: unknown key" in genre_watch(workspace, "--set", "nme=a")[1]
    done = CliRunner().invoke(cli, ["watch", "--set", "workspace=gs://b/w"])
    assert "gs://b/w: a run on this machine needs a workspace on this machine" in str(done.exception)
    file = workspace.local / "file"
    file.parent.mkdir()
    file.touch()
    inside = Workspace(epath.Path(file / "inside"))
    assert genre_watch(inside)[1].startswith(f"{inside.root}: cannot be used as workspace: Not a directory.")
    with workspace.watched("7 on h since yesterday"):
        assert "process 7 on h since yesterday watches this workspace" in genre_watch(workspace, "--once")[1]


def test_one_poll_of_the_real_library(workspace: Workspace, tmp_path: Path) -> None:
    missing = tmp_path / "data"
    assert str(missing) in genre_watch(workspace, "--once", "--data", str(missing))[1]
    status = read_status(workspace)
    assert (status.state, status.failures, status.polled) == ("stopped", 1, None)
    assert str(missing) in status.error


def test_one_poll_does_not_wait_for_others(workspace: Workspace) -> None:
    facts = Facts(candidate="c", span=5, window=(5,), champion=None, new_clips=40)
    outlook = Outlook("/data", facts, Decision(action="retrain", reasons=("no model is served yet",)))
    watcher = Watcher(workspace, lambda: outlook, ["false"], Log(None), 60.0)
    with workspace.locked(), pytest.raises(UserError, match=f"process {os.getpid()} is running in this workspace"):
        watcher.run(once=True)
    with pytest.raises(UserError, match="ended with exit code 1 and no error message"):
        watcher.run(once=True)


@pytest.mark.parametrize(("how", "noted"), [("print('it is clean')", False), ("raise SystemExit('it cannot')", True)])
def test_the_workspace_is_cleaned_after_a_run(workspace: Workspace, tmp_path: Path, how: str, noted: bool) -> None:
    facts = Facts(candidate="c", span=5, window=(5,), champion=None, new_clips=40)
    decision = Decision(action="retrain", reasons=("no model is served yet",))
    outlook = Outlook("/data", facts, decision, cleaning=[sys.executable, "-c", how])
    with (tmp_path / "log").open("wb") as file:
        Watcher(workspace, lambda: outlook, ["true"], Log(file.fileno()), 60.0).run(once=True)
    log = (tmp_path / "log").read_text()
    assert f" clean: span 5: it {'cannot' if noted else 'is clean'}" in log
    assert ("note: span 5: the workspace was not cleaned: it cannot" in log) == noted
    assert read_status(workspace).failures == 0


def test_a_lock_file_by_itself_means_nothing(workspace: Workspace) -> None:
    workspace.local.mkdir()
    for name in (".lock", "watch.lock"):
        (workspace.local / name).write_text("1")
    assert (workspace.runner(), workspace.watcher()) == (None, None)
    with workspace.locked(), workspace.watched("me"):
        assert (workspace.runner(), workspace.watcher()) == (str(os.getpid()), "me")
        with pytest.raises(HeldError, match=f"process {os.getpid()} is already running in this workspace"):
            workspace.locked().__enter__()
    assert (workspace.runner(), workspace.watcher()) == (None, None)


def test_it_needs_no_framework() -> None:
    code = (
        "import pipeline.watching.watcher, pipeline.commands.watch, sys\n"
        "print({'tensorflow', 'tfx', 'keras'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
