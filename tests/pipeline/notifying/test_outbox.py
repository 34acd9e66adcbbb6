"""Messages to a real server and a real command: retried, kept over a kill, and never in anybody's way."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from components.base.times import timestamp
from pipeline.config.listing import setting_lines
from pipeline.config.settings import changed_config, load_config
from pipeline.notifying import outbox as outbox_module
from pipeline.notifying.config import EVENTS, NotifyConfig
from pipeline.notifying.outbox import Message, Outbox, message

PATIENCE = 60.0


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(outbox_module, "ANSWER_SECONDS", 0.3)


def left(workspace: Path) -> list[Path]:
    return sorted((workspace / "outbox").glob("*.json"))


def told(workspace: Path, config: NotifyConfig, *messages: Message, patience: float = PATIENCE) -> list[str]:
    problems: list[str] = []
    outbox = Outbox(workspace, config, problems.append)
    for each in messages:
        outbox.put(each)
    outbox.deliver(patience)
    return problems


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


PUSHED = message("pushed", "It was pushed.", "/w", version=3, accuracy=0.5, report="file:///w/report.html")


def test_a_message_is_sent_as_json(tmp_path, service):
    service.on("POST", "/hook", (200, {}))
    assert told(tmp_path, NotifyConfig(url=f"{service.url}/hook"), PUSHED) == []
    (asked,) = service.asked
    assert asked.body == json.loads(PUSHED.model_dump_json())
    assert asked.body["report"] == "file:///w/report.html" and asked.headers["Content-Type"] == "application/json"
    assert left(tmp_path) == []


def test_it_is_sent_again_until_it_is_taken(tmp_path, service):
    service.on("POST", "/hook", (500, {}), (503, {}), (200, {}, 1.0), (429, {}), (204, {}))
    problems = told(tmp_path, NotifyConfig(url=f"{service.url}/hook"), PUSHED)
    assert len(service.asked) == 5 and left(tmp_path) == []
    assert len({asked.body["id"] for asked in service.asked}) == 1
    assert any("answered 500" in problem for problem in problems)
    assert any("timed out" in problem for problem in problems)


@pytest.mark.parametrize("server", ["that hangs", "that fails", "that is not there", "that drips"])
def test_a_server_does_not_hold_anybody_up(tmp_path, service, server):
    """A message that nobody takes is kept, and the next process sends it."""
    url = f"{service.url}/hook"
    service.on("POST", "/hook", (200, {}, 3600.0) if server == "that hangs" else (500, {}))
    if server == "that is not there":
        url = "http://127.0.0.1:9/hook"
    if server == "that drips":
        url = dripping()
    start = time.monotonic()
    told(tmp_path, NotifyConfig(url=url), PUSHED, patience=1.0)
    assert time.monotonic() - start < PATIENCE / 2
    assert len(left(tmp_path)) == 1
    service.on("POST", "/hook", (200, {}))
    if server != "that drips":  # whose thread is still at it in this process
        told(tmp_path, NotifyConfig(url=f"{service.url}/hook"))
        assert service.asked[-1].body["id"] == PUSHED.id
        assert left(tmp_path) == []


def dripping() -> str:
    """A server that sends a byte of an endless header now and then, so that no wait for a byte is long."""
    import socket

    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        try:
            for _ in range(600):
                connection.sendall(b"x")
                time.sleep(0.1)
        except OSError:
            return

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}/hook"


def test_only_events_that_are_asked_for(tmp_path, service):
    service.on("POST", "/hook", (200, {}))
    config = NotifyConfig(url=f"{service.url}/hook", events=("failed", "set aside"))
    told(tmp_path, config, *(message(event, "x", "/w") for event in EVENTS))
    assert {asked.body["event"] for asked in service.asked} == {"failed", "set aside"}
    told(tmp_path / "other", NotifyConfig(), PUSHED)
    assert not (tmp_path / "other").exists()


def test_a_command_reads_it(tmp_path):
    config = NotifyConfig(command=f"cat > {tmp_path}/read")
    assert told(tmp_path, config, PUSHED) == []
    assert json.loads((tmp_path / "read").read_text())["version"] == 3


@pytest.mark.parametrize(
    ("command", "problem"),
    [("exit 3", "exit code 3"), ("sleep 1000 & sleep 1000", "did not end"), ("no-such-program", "exit code 127")],
)
def test_a_command_that_fails_is_run_again_another_time(tmp_path, command, problem):
    (told_problem,) = told(tmp_path, NotifyConfig(command=command), PUSHED, patience=0.5)
    assert problem in told_problem
    assert len(left(tmp_path)) == 1
    assert told(tmp_path, NotifyConfig(command=f"cat > {tmp_path}/read")) == []
    assert json.loads((tmp_path / "read").read_text())["id"] == PUSHED.id
    assert left(tmp_path) == []


def test_each_way_is_gone_once(tmp_path, service):
    service.on("POST", "/hook", (500, {}), (200, {}))
    config = NotifyConfig(url=f"{service.url}/hook", command=f"echo >> {tmp_path}/ran")
    told(tmp_path, config, PUSHED)
    assert len(service.asked) == 2 and (tmp_path / "ran").read_text() == "\n"


def test_what_nobody_takes_for_a_week_is_given_up(tmp_path):
    old = PUSHED.model_copy(update={"time": timestamp(datetime.now(UTC) - timedelta(days=8))})
    assert "given up" in " ".join(told(tmp_path, NotifyConfig(command="false"), old))
    assert left(tmp_path) == []


def test_a_damaged_message_is_in_nobodys_way(tmp_path, service):
    service.on("POST", "/hook", (200, {}))
    (tmp_path / "outbox").mkdir()
    (tmp_path / "outbox" / "0.json").write_text("{")
    problems = told(tmp_path, NotifyConfig(url=f"{service.url}/hook"), PUSHED)
    assert "damaged" in problems[0] and left(tmp_path) == [] and len(service.asked) == 1


def test_a_message_outlives_a_kill(tmp_path, service):
    code = """if True:
        import sys
        from pathlib import Path
        from pipeline.notifying.config import NotifyConfig
        from pipeline.notifying.outbox import Outbox, message
        outbox = Outbox(Path(sys.argv[1]), NotifyConfig(url=sys.argv[2]), print)
        outbox.put(message("failed", "x", "/w"))
        outbox.deliver(3600.0)
    """
    service.on("POST", "/hook", (200, {}, 3600.0))
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), f"{service.url}/hook"])
    until(lambda: service.asked)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    service.on("POST", "/hook", (200, {}))
    told(tmp_path, NotifyConfig(url=f"{service.url}/hook"))
    assert len(service.asked) == 2 and service.asked[0].body == service.asked[1].body


def test_a_new_message_does_not_wait_for_an_old_one(tmp_path, service, monkeypatch):
    monkeypatch.setattr(outbox_module, "_FIRST_WAIT", 3600.0)
    service.on("POST", "/hook", (500, {}), (200, {}))
    outbox = Outbox(tmp_path, NotifyConfig(url=f"{service.url}/hook"), lambda problem: None)
    outbox.put(PUSHED)
    outbox.start(1e9)
    until(lambda: service.asked)
    outbox.put(message("failed", "x", "/w"))
    until(lambda: not left(tmp_path))
    assert [asked.body["event"] for asked in service.asked] == ["pushed", "pushed", "failed"]


@pytest.mark.parametrize("code", [301, 302, 303])
def test_a_redirect_that_would_lose_the_message_is_not_followed(tmp_path, service, code):
    service.on("POST", "/hook", (code, {"location": f"{service.url}/secret"}))
    service.on("GET", "/secret", (200, {}))
    (problem,) = told(tmp_path, NotifyConfig(url=f"{service.url}/hook"), PUSHED, patience=0.5)
    assert f"answered {code}" in problem and "not delivered" in problem and "secret" not in problem
    assert {asked.method for asked in service.asked} == {"POST"} and len(left(tmp_path)) == 1


@pytest.mark.parametrize("code", [307, 308])
def test_a_redirect_that_keeps_the_message_is_followed(tmp_path, service, code):
    service.on("POST", "/hook", (code, {"location": f"{service.url}/new"}))
    service.on("POST", "/new", (200, {}))
    assert told(tmp_path, NotifyConfig(url=f"{service.url}/hook"), PUSHED) == []
    assert [asked.body["id"] for asked in service.asked] == [PUSHED.id] * 2 and left(tmp_path) == []
    assert service.asked[1].headers["Content-Type"] == "application/json"


def test_a_redirect_leaves_http_only_for_https(tmp_path, service):
    service.on("POST", "/hook", (307, {"location": "ftp://127.0.0.1/hook"}))
    (problem,) = told(tmp_path, NotifyConfig(url=f"{service.url}/hook"), PUSHED, patience=0.5)
    assert "not delivered" in problem and len(left(tmp_path)) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://hooks.example.com/services/T0/B0/secret", "https://hooks.example.com/…"),
        ("https://me:secret@example.com:8443?token=secret", "https://example.com:8443/…"),
        ("http://example.com#secret", "http://example.com/…"),
        ("curl -d @- 'https://h/secret' && echo 'x'", "curl -d @- 'https://h/…' && echo 'x'"),
        ("cat > /tmp/read", "cat > /tmp/read"),
    ],
)
def test_of_an_address_scheme_and_host_are_shown(text, shown):
    setting = "url" if text.startswith("http") else "command"
    config = load_config(None, [f"notify.{setting}={json.dumps(text)}"])
    assert config.model_dump(mode="json")["notify"][setting] == shown
    assert "secret" not in config.model_dump_json() and "secret" not in str(config.model_dump())
    again = changed_config(config, ["window=2"])
    assert (again.notify, again.window) == (config.notify, 2)
    assert f"  {setting}: {json.dumps(text)}" in "\n".join(setting_lines(config, ["notify"]))


def test_what_cannot_be_delivered_is_said_without_the_secret(tmp_path, service):
    service.on("POST", "/secret", (500, {}))
    config = NotifyConfig(url=f"{service.url}/secret", command=f"exit 3 # {service.url}/secret")
    problems = told(tmp_path, config, PUSHED, patience=0.5)
    assert len(problems) == 2 and all(f"{service.url}/…" in problem for problem in problems)
    assert "secret" not in " ".join(problems)


@pytest.mark.parametrize("url", ["ftp://x", "x", "http://", "file:///etc/passwd"])
def test_addresses_that_are_none(url):
    from components.base.errors import UserError

    with pytest.raises(UserError, match=r"notify\.url"):
        load_config(None, [f"notify.url={url}"])
