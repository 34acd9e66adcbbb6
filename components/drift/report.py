"""The record of what a test for drift found."""

from components.base.section import Section

DRIFT_REPORT = "drift.json"
"""File of an artifact that holds a `DriftReport`."""


class DriftReport(Section):
    """The result of a test for drift."""

    drifted: bool
    false_alarm_rate: float
    """Of everything that may set `drifted`."""
    p_value: float | None
    """The smallest of `p_values`; null: nothing was tested."""
    p_values: dict[str, float] = {}  # noqa: RUF012 (pydantic copies it)
    """By family of figures, each adjusted for all of them. A family drifted if its p-value is at most half of
    `false_alarm_rate`."""
    findings: tuple[str, ...] = ()
    """One sentence per figure that differs."""
    notes: tuple[str, ...] = ()
    """One sentence per figure that does not differ or was not tested."""
    newest_clips: int = 0
    reference_clips: int = 0


def not_tested(reason: str, false_alarm_rate: float, newest_clips: int = 0, reference_clips: int = 0) -> DriftReport:
    """Returns the report for the case that there is nothing to compare, or too little."""
    return DriftReport(
        drifted=False,
        false_alarm_rate=false_alarm_rate,
        p_value=None,
        notes=(f"drift was not tested: {reason}",),
        newest_clips=newest_clips,
        reference_clips=reference_clips,
    )
