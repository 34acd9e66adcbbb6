"""Results of an evaluation, as frozen records: metrics, paired outcomes, checks, and the verdict of the gate."""

import numpy as np
from etils import epath
from numpy.typing import NDArray

from components.base.json_records import read_record
from components.base.section import Section

VERDICT = "verdict.json"
"""File of an evaluation that holds its `Verdict`."""
CALIBRATION_BINS = 15
"""Equal-width bins of confidence over (0, 1] in the expected calibration error."""


class GenreMetrics(Section):
    """One genre against the rest. A ratio whose denominator is 0 is 0; all are None for a genre that was not tested."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    """Clips that have the genre; without any, it was not tested."""


class Metrics(Section):
    """A model's figures on one set of clips."""

    clips: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    """95 %, Wilson."""
    macro_f1: float
    """Mean F1 of the genres that were tested."""
    log_loss: float
    """In nats."""
    expected_calibration_error: float
    calibration_bins: int = CALIBRATION_BINS
    confusion: tuple[tuple[int, ...], ...]
    """Rows true, columns predicted, both in the order of the genres."""
    genres: dict[str, GenreMetrics]

    @property
    def untested(self) -> tuple[str, ...]:
        """Genres without clips."""
        return tuple(genre for genre, found in self.genres.items() if not found.support)


class PairedOutcomes(Section):
    """Two models on the same clips, with exact McNemar p-values of the hypothesis that they are equally good."""

    both_right: int
    only_candidate: int
    only_champion: int
    both_wrong: int
    p_worse: float
    """One-sided: that an equally good candidate would do this badly or worse."""
    p_different: float
    """Two-sided."""


class Outcomes(Section):
    """The clips of a set that a model is right about: enough to compare it with a model that never met it."""

    clips: str
    """Digest of the clips' track ids and genres."""
    right: str
    """1 or 0 for every clip, in the order of the track ids."""

    @property
    def accuracy(self) -> float:
        """Share of ones."""
        return self.right.count("1") / len(self.right)

    @property
    def array(self) -> NDArray[np.bool_]:
        """`right` as bool [n]."""
        return np.array([outcome == "1" for outcome in self.right])


class Predecessor(Outcomes):
    """A former version, with its outcomes on the golden set."""

    version: int


class Check(Section):
    """One condition of the gate, or a figure that has none."""

    name: str
    passed: bool
    value: float | None
    """None: it could not be measured."""
    limit: float | None
    """None: there is no limit, so this check cannot refuse."""
    text: str
    at_most: bool = False
    """Holds for a limit from above."""


class ChampionMetrics(Section):
    """The served model's figures, on the same clips as the candidate's."""

    version: str
    metrics: Metrics


class Judged(Section):
    """The candidate's figures on one set of clips and, if there is a comparable champion, the champion's."""

    split: str
    span: int | None
    """Number of the span that the clips are from; None: not known."""
    joined: tuple[int, ...] = ()
    """Numbers of other spans that clips are from as well."""
    candidate: Metrics
    outcomes: Outcomes
    """The candidate's."""
    champion: ChampionMetrics | None
    paired: PairedOutcomes | None
    """None where `champion` is."""

    @property
    def of_span(self) -> str:
        """Names the spans of the clips, such as ` of span 3` or ` of spans 1, 2`; empty where they are not known."""
        spans = sorted({*self.joined, *([] if self.span is None else [self.span])})
        return f" of span{'s' * (len(spans) > 1)} {', '.join(map(str, spans))}" if spans else ""

    @property
    def clips_text(self) -> str:
        """Names the set with its size, such as `96 test clips of span 3`."""
        return self.count_text(self.candidate.clips)

    def count_text(self, count: int) -> str:
        """Names `count` clips of the set, such as `12 test clips of span 3`."""
        return f"{count} {self.split} clip{'' if count == 1 else 's'}{self.of_span}"

    @property
    def headline(self) -> str:
        """Sums up the candidate's overall figures."""
        low, high = self.candidate.accuracy_interval
        tested = len(self.candidate.genres) - len(self.candidate.untested)
        return (
            f"accuracy {self.candidate.accuracy:.1%} on {self.clips_text} (95 % interval {low:.1%} to {high:.1%}), "
            f"macro-F1 {self.candidate.macro_f1:.3f}"
            + (f" of {tested} of {len(self.candidate.genres)} genres" if self.candidate.untested else "")
        )


class Verdict(Judged):
    """The gate's decision, with everything that it rests on. Its own figures are those on the test clips."""

    blessed: bool
    reasons: tuple[str, ...]
    """Why the candidate was refused, or else why it was accepted."""
    checks: tuple[Check, ...]
    genres: tuple[str, ...]
    golden: Judged | None
    """The same on the golden set; None where the test clips are the golden set, or there is none."""
    golden_is_test: bool
    """Holds where the test clips are the golden set."""
    best: Predecessor | None
    """The most accurate on these golden clips among the champion and all versions that it descends from."""
    latency_ms: float
    """Median time for one clip in milliseconds, on the machine that judged the candidate."""
    megabytes: float
    """Size of the candidate's SavedModel, in millions of bytes."""

    @property
    def on_golden(self) -> Judged | None:
        """Returns the figures on the golden set; None where there is none."""
        return self if self.golden_is_test else self.golden

    @property
    def sets(self) -> tuple[Judged, ...]:
        """Returns the sets of clips that the candidate was judged on, each once, the test clips first."""
        return (self, self.golden) if self.golden else (self,)

    @property
    def account(self) -> tuple[str, ...]:
        """Lists every check, marked with its result, and then the reasons that are not checks."""
        marks = ("FAIL" if not check.passed else "--" if check.limit is None else "ok" for check in self.checks)
        checks = [f"{mark:<4} {check.text}" for mark, check in zip(marks, self.checks, strict=True)]
        # A sentence about several checks ends with one of them.
        notes = [reason for reason in self.reasons if not reason.endswith(tuple(check.text for check in self.checks))]
        return (*checks, *notes)


def read_evaluation(directory: epath.Path) -> Verdict:
    """Reads the verdict that GateEvaluator left in `directory`, its artifact.

    Raises:
      UserError: it is missing or damaged.
    """
    return read_record(directory / VERDICT, Verdict, "Restore the artifact from a copy, or run in another workspace.")
