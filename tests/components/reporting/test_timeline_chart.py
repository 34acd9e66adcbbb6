"""The timeline as a browser would take it: what is drawn is where it belongs, and everything is told."""

import re
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from components.base.times import timestamp
from components.drift.report import DriftReport
from components.evaluation.metrics import wilson_interval
from components.reporting.timeline_chart import ACCURACY, SERVED, render_history, timeline_chart
from components.retraining.history import Outcome, Record
from components.retraining.timeline import Store, Timeline, timeline
from components.store.model_store import Withdrawal

START = datetime(2026, 1, 4, 6, 0, 0, tzinfo=UTC)
HOSTILE = '\'"></title></svg><script>alert("x")</script><img src=x onerror=alert(1)>'


def year(
    spans: int = 26, apart: timedelta = timedelta(days=14), golden: Sequence[int | None] = (1,), reason: str = "worse"
) -> Timeline:
    """Every third candidate is refused, every tenth span has drifted, and the fourth version is rolled back."""
    records, version, withdrawals = [], 0, {}
    for span in range(1, spans + 1):
        now = START + span * apart
        refused = span % 3 == 0
        version += not refused
        on_golden = golden[span % len(golden)]
        figures = {
            "accuracy": 0.5,
            "golden_accuracy": None if on_golden is None else 0.4 + 0.001 * span,
            "golden_interval": None if on_golden is None else wilson_interval(400 + span, 1000),
            "golden_span": on_golden,
        }
        outcome = Outcome(
            time=timestamp(now + apart / 4),
            blessed=not refused,
            reasons=(reason,),
            version=None if refused else version,
            **figures,
        )
        drifted = span % 10 == 0
        drift = DriftReport(drifted=drifted, false_alarm_rate=0.01, p_value=0.5, findings=("it differs",) * drifted)
        if version == 4 and not withdrawals:
            withdrawals[4] = Withdrawal(candidate=None, time=timestamp(now + apart / 2), reason=reason, served=3)
        decision = {"time": timestamp(now), "decision": {"action": "retrain", "reasons": ("new",)}}
        known = {"candidate": f"{span:08x}", "data": "/data", "span": span, "window": (span,), "champion": version}
        known |= {"new_clips": 9, "drift": drift, "measured": timestamp(now), "decisions": (decision,)}
        records.append(Record.model_validate(known | {"started": (timestamp(now),), "outcomes": (outcome,)}))
    return timeline(records, Store(served=version, pushes={}, withdrawals=withdrawals))


def drawing(html: str) -> ElementTree.Element:
    """The chart, which must be well-formed."""
    [svg] = re.findall(r'<svg viewBox="0 0 800.*?</svg>', html, re.S)
    return ElementTree.fromstring(svg)


def of_class(svg: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [element for element in svg.iter() if element.get("class") == name]


def test_everything_is_drawn_where_it_belongs() -> None:
    svg = drawing(render_history(year(), "genre"))
    promoted, refused = of_class(svg, "promoted"), of_class(svg, "refused")
    assert (len(promoted), len(refused)) == (18, 8)
    assert (len(of_class(svg, "span")), len(of_class(svg, "drift")), len(of_class(svg, "back"))) == (26, 2, 1)
    points = sorted(promoted + refused, key=lambda point: float(point.get("cx")))
    heights = [float(point.get("cy")) for point in points]
    assert heights == sorted(heights, reverse=True)  # accuracy rises all the year
    for point, whiskers in zip(points, of_class(svg, "range-of"), strict=True):
        assert ACCURACY.left <= float(point.get("cx")) <= ACCURACY.right
        top, bottom = float(whiskers.get("y2")), float(whiskers.get("y1"))
        assert ACCURACY.top <= top < float(point.get("cy")) < bottom <= ACCURACY.bottom


def test_the_served_version_is_a_line_of_steps() -> None:
    story = year(6)  # pushes 1, 2, 3 and 4; a roll-back to 3; then span 6 is refused
    assert [event.served for event in story.events if event.served] == [1, 2, 3, 4, 3]
    chart = timeline_chart(story.model_copy(update={"served": 3}))
    heights = {tick.label: tick.at for tick in chart.version_ticks}
    assert list(heights) == ["1", "2", "3", "4"]
    steps = [float(height) for height in re.findall(r"V(\S+)", chart.served)]
    assert steps == [heights[version] for version in ("2", "3", "4", "3")]
    assert chart.served.startswith("M") and chart.served.endswith(f"H{SERVED.right}")
    pushed_unseen = timeline_chart(story.model_copy(update={"served": 9}))
    assert len(re.findall("V", pushed_unseen.served)) == 5


def test_a_single_run_has_no_timeline() -> None:
    assert timeline_chart(timeline([], Store(served=None, pushes={}, withdrawals={}))) is None
    assert timeline_chart(year(1)) is None
    assert "<svg" not in render_history(year(1), "genre") and "pushed as version 1" in render_history(year(1), "genre")
    assert timeline_chart(year(2)) is not None


@pytest.mark.parametrize("hours", [0.0, 1 / 1200, 1 / 180, 1.0, 9600.0])
def test_any_stretch_of_time_has_its_marks(hours: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chart = timeline_chart(year(12, timedelta(hours=hours)))
    assert 1 <= len(chart.x_ticks) <= 12
    assert all(ACCURACY.left <= tick.at <= ACCURACY.right and tick.label for tick in chart.x_ticks)


def test_accuracies_on_other_golden_sets_carry_a_note() -> None:
    assert timeline_chart(year()).notes == ()
    assert timeline_chart(year(golden=(1, 4))).notes == (
        "The golden set changed: only accuracies on the same golden set can be compared.",
    )
    without = timeline_chart(year(golden=(None,)))
    assert without.notes == ("No candidate was judged on a golden set.",) and without.points == ()
    assert len(timeline_chart(year(golden=(1, None))).points) == 13


def test_every_event_is_listed_and_escaped() -> None:
    story = year(reason=HOSTILE)
    html = render_history(story, HOSTILE)
    assert "<script" not in html and "<img" not in html and "://" not in html and "url(" not in html
    assert html.count("<tr><td>") == len(story.events)
    assert html == render_history(story, HOSTILE)


def test_a_year_of_days_fits_on_a_page() -> None:
    html = render_history(year(365, timedelta(days=1)), "genre")
    assert len(of_class(drawing(html), "span")) == 365
    assert len(html) < 1_500_000
