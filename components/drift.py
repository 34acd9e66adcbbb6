"""Whether the newest span is unlike what the champion was trained on."""

from components.config import Section


class DriftReport(Section):
    """What was found, in words."""

    drifted: bool
    false_alarm_rate: float
    p_value: float | None
    """Of all families together; None: not tested."""
    findings: tuple[str, ...] = ()
    """What differs."""
    notes: tuple[str, ...] = ()
    """What does not, or why it was not tested."""
    newest_clips: int = 0
    reference_clips: int = 0
