"""What is known before a run of what it would be: the spans that are left out, and by whom."""

from datetime import UTC, datetime
from typing import Any

import pytest

from components.base.errors import UserError
from pipeline.planning.prospect import Prospect, prospect

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def window(found: Prospect) -> tuple[int, ...]:
    assert found.facts.window == tuple(manifest.span for manifest in found.inputs.window)
    return found.facts.window


def test_the_loop_goes_on_without_a_span_that_was_set_aside(place: Any) -> None:
    place.set_aside(4)
    found = prospect(place.config(), NOON)
    assert window(found) == (2, 3, 5)
    [note] = found.notes
    assert note.startswith("span 4 is set aside since 20")
    assert note.endswith(": damaged TFRecord files")
    assert found.decision.action == "retrain"
    assert found.decision.reasons == ("no model is served yet",)


def test_who_asks_for_a_run_is_left_nothing_out(place: Any) -> None:
    place.set_aside(4)
    found = prospect(place.config(retrain={"when": "never"}), NOON, asked=True)
    assert (window(found), found.notes) == ((3, 4, 5), ())
    assert found.decision.reasons == ("asked for",)
    assert prospect(place.config(retrain={"when": "never"}), NOON).decision.action == "wait"


def test_a_window_without_a_span_is_another_candidate(place: Any) -> None:
    before = prospect(place.config(), NOON).facts.candidate
    place.set_aside(4)
    assert prospect(place.config(), NOON).facts.candidate != before
    assert prospect(place.config(), NOON, asked=True).facts.candidate == before


def test_a_span_that_is_another_now_is_not_left_out(place: Any) -> None:
    place.set_aside(4)
    place.add(4, digest="of what was ingested anew")
    found = prospect(place.config(), NOON)
    assert (window(found), found.notes) == ((3, 4, 5), ())


def test_the_newest_span_set_aside_ends_the_window_before_it(place: Any) -> None:
    place.set_aside(5)
    assert window(prospect(place.config(), NOON)) == (2, 3, 4)
    with pytest.raises(UserError, match=r"span 5 is set aside\. `genre spans` shows the reason"):
        prospect(place.config(span=5), NOON)


def test_nothing_is_left(place: Any) -> None:
    for span in range(1, 6):
        place.set_aside(span)
    with pytest.raises(UserError, match="every complete span is excluded or set aside: 1, 2, 3, 4, 5"):
        prospect(place.config(), NOON)
    assert window(prospect(place.config(), NOON, asked=True)) == (3, 4, 5)
