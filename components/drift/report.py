"""The record of what a test for drift found."""

from components.base.section import Section

DRIFT_REPORT = "drift.json"
"""File of an artifact that holds a `DriftReport`."""


class Moved(Section):
    """A figure of the clips whose mean moved, with the histograms of both sides."""

    family: str
    figure: str
    shift: float
    """Of the mean, in standard deviations as of `components.drift.energy.standardise`."""
    edges: tuple[float, ...]
    """Of n buckets, n + 1 in ascending order."""
    newest: tuple[int, ...]
    """Clips in each bucket, n."""
    reference: tuple[int, ...]


class Far(Section):
    """A newest clip that is unlike the earlier ones."""

    track_id: str
    genre: str
    distance: float
    """To the nearest earlier clip, see `components.drift.farthest`."""


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
    moved: tuple[Moved, ...] = ()
    """What moved in the families that differ, the farthest first; if none does, the two that moved most."""
    farthest: tuple[Far, ...] = ()
    """The newest clips that are least like the earlier ones, the farthest first."""
    newest_clips: int = 0
    reference_clips: int = 0

    @property
    def headline(self) -> str:
        """Sums up the result in a sentence."""
        if self.p_value is None and not self.drifted:
            return "; ".join(self.notes) or "drift was not tested"
        found = "drift" if self.drifted else "no drift"
        sides = f"{self.newest_clips} newest clips against {self.reference_clips}"
        return f"{found}: {sides} that the champion was measured on"

    @property
    def account(self) -> tuple[str, ...]:
        """Lists the result, everything that differs, and every family that does not, each with its p-value."""
        calm = [note for note in self.notes if note.partition(":")[0] in self.p_values]
        return (self.headline, *self.findings, *calm)


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
