"""`genre open`, with a browser that only notes what it is to open."""

import webbrowser
from pathlib import Path

import pytest
from click.testing import CliRunner

from components.base.errors import UserError
from pipeline.cli import cli


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    urls: list[str] = []
    monkeypatch.setattr(webbrowser, "open", urls.append)
    return urls


def test_it_opens_the_latest_report_or_the_list_of_runs(tmp_path: Path, asked: list[str]) -> None:
    reports = tmp_path / "a workspace" / "reports"
    reports.mkdir(parents=True)
    for name in ("index.html", "latest.html"):
        (reports / name).touch()
    command = ["open", "--workspace", str(reports.parent)]
    assert CliRunner().invoke(cli, command).output == f"{reports / 'latest.html'}\n"
    assert CliRunner().invoke(cli, [*command, "--runs"]).output == f"{reports / 'index.html'}\n"
    assert asked == [(reports / name).as_uri() for name in ("latest.html", "index.html")]
    assert CliRunner().invoke(cli, [*command, "--print"]).exit_code == 0 and len(asked) == 2


def test_without_a_report_it_says_what_to_do(tmp_path: Path, asked: list[str]) -> None:
    done = CliRunner().invoke(cli, ["open", "--workspace", str(tmp_path)])
    assert isinstance(done.exception, UserError) and "`genre run` writes one" in str(done.exception)
    assert asked == []
