"""What is shown of text from outside: all of it, as text."""

import io

import pytest
from rich.table import Table

from components.base.text import as_utf8, one_line, printable
from pipeline.commands.tables import show_table
from pipeline.output import echo, plain_console

HOSTILE = "Lo-Fi [/] [bold]x[link=http://x] :smile: \x1b[31m \u202e caf\udce9 \x9b1m \u2028\x7f é 日本 \u3000"
SHOWN = "Lo-Fi [/] [bold]x[link=http://x] :smile: \\x1b[31m \\u202e caf\\xe9 \\x9b1m \\u2028\\x7f é 日本 \u3000"


def test_text_is_escaped_where_it_does_something() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable("a\nb\tc") == "a\nb\\tc" and one_line("a\nb") == "a\\nb"
    assert as_utf8("caf\udce9\x1b") == "caf\\xe9\x1b"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_console_shows_text(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    out = io.StringIO()
    console = plain_console(out, 200)
    table = Table(HOSTILE, box=None)
    table.add_row(HOSTILE)
    console.print(HOSTILE, soft_wrap=True)
    console.print(table)
    assert out.getvalue().count(SHOWN.strip()) == 3
    assert "\x1b[31m" not in out.getvalue()


def test_messages_and_tables_show_text(capsys: pytest.CaptureFixture[str]) -> None:
    echo(HOSTILE)
    show_table(["genre"], [[HOSTILE], ["a\nb"]])
    assert capsys.readouterr().out.splitlines() == [SHOWN, "genre", SHOWN.rstrip(), "a\\nb"]
