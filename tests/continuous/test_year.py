"""A year of music, a span a month, in minutes: what the loop does of itself when the stream changes or breaks.

Twelve spans of the demo library, with a window of three. Nothing here says when to retrain: the loop is asked once per
span, as `genre watch` would, and these tests read what it did and why from its own account.
"""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

FEW, MANY = 5, 14
"""Artists per genre."""
HALF = ("Electronic", "Hip-Hop", "Pop", "Rock")
"""Genres of the later mixture."""
MIXTURE = {
    genre: 9 if genre in HALF else 1 for genre in (*HALF, "Experimental", "Folk", "Instrumental", "International")
}
YEAR: dict[int, dict[str, Any]] = {
    1: {"artists": dict.fromkeys(MIXTURE, MANY)},
    2: {},
    3: {},
    4: {},  # by now so much is new to the champion that it is retrained without drift
    5: {"recording": "cassette"},
    6: {"recording": "cassette"},
    7: {"recording": "cassette"},
    8: {"recording": "cassette", "artists": MIXTURE},
    9: {"recording": "cassette", "artists": MIXTURE},  # one of its files is damaged on the disk
    10: {"recording": "cassette", "shuffled": True, "artists": dict.fromkeys(MIXTURE, MANY)},
    11: {"recording": "cassette"},
    12: {"recording": "cassette"},
}
CHANGES = (5, 8)
"""Spans that are unlike those before them, to the ear."""
CORRUPT, POISONED = 9, 10
"""Of the last, the labels alone are wrong: it sounds as before."""


@pytest.fixture(scope="module")
def year(new_loop: Callable[..., Any]) -> Any:
    """The loop after the year; `said` has what it said of each span."""
    loop = new_loop(retrain={"min_new_clips": 70})
    loop.said, loop.at = {}, {}
    for span, what in YEAR.items():
        loop.deliver(span, **what)
        if span == CORRUPT:
            part = next((loop.data / f"span-{span}" / "train").glob("part-*"))
            content = bytearray(part.read_bytes())
            content[len(content) // 2] ^= 0xFF
            part.write_bytes(content)
        code, said = loop.retrain()
        assert code == (1 if span == CORRUPT else 0), said
        loop.said[span], loop.at[span] = said, loop.served()
    return loop


def test_print(year: Any) -> None:
    for span, said in year.said.items():
        print(
            span,
            year.at[span],
            [
                line
                for line in said.splitlines()
                if line.startswith(("retrain", "wait", "measure", "genre", "acc", "blessed", "refused", "  "))
            ][:30],
        )
    for record in year.history():
        print(
            record["span"],
            record["window"],
            [(d["decision"]["action"], d["decision"]["reasons"]) for d in record["decisions"]],
            record["drift"] and (record["drift"]["drifted"], record["drift"]["p_values"], record["drift"]["findings"]),
            [(o["blessed"], o["reasons"], o["golden_accuracy"], o["accuracy"]) for o in record["outcomes"]],
            record["failures"],
        )
