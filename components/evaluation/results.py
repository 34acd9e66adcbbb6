"""What an evaluation finds, as frozen records: metrics, paired outcomes, checks, and the verdict of the gate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.base.section import Section

VERDICT = "verdict.json"
"""File of an evaluation that holds its `Verdict`."""


CALIBRATION_BINS = 15
"""Equal-width bins of confidence over (0, 1] in the expected calibration error."""


class GenreMetrics(Section):
    """One genre against the rest. A ratio whose denominator is 0 is 0."""

    precision: float
    recall: float
    f1: float
    support: int


class Metrics(Section):
    """A model's figures on one split. `confusion`: rows true, columns predicted, both in the order of the genres."""

    clips: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    log_loss: float
    expected_calibration_error: float
    calibration_bins: int = CALIBRATION_BINS
    confusion: tuple[tuple[int, ...], ...]
    genres: dict[str, GenreMetrics]


class PairedOutcomes(Section):
    """Two models on the same clips, with exact McNemar p-values of the hypothesis that they are equally good."""

    both_right: int
    only_candidate: int
    only_champion: int
    both_wrong: int
    p_worse: float
    p_different: float


class Outcomes(Section):
    """Which clips of a set a model is right about: enough to compare it with a model that never met it."""

    clips: str
    """Digest of the clips' track ids and genres."""
    right: str
    """1 or 0 for every clip, in the order of the track ids."""

    @property
    def accuracy(self) -> float:
        """Share of ones."""
        return self.right.count("1") / len(self.right)

    @property
    def array(self) -> np.ndarray:
        """`right` as bool [n]."""
        return np.array([outcome == "1" for outcome in self.right])


class Predecessor(Outcomes):
    """A former version, with what it was right about on the golden set."""

    version: int


class Check(Section):
    """One condition of the gate, or a figure without one. `value` is None where it cannot be measured, which fails."""

    name: str
    passed: bool
    value: float | None
    limit: float | None
    """None: there is none, so that this cannot refuse."""
    text: str
    at_most: bool = False
    """Whether the limit is one from above."""


class ChampionMetrics(Section):
    """The model being served, on the same clips as the candidate."""

    version: str
    metrics: Metrics


class Judged(Section):
    """The candidate's figures on one set of clips and, if there is a champion to compare with, the champion's."""

    split: str
    candidate: Metrics
    champion: ChampionMetrics | None
    paired: PairedOutcomes | None
    span: int | None = None
    """That the clips are of; None where it is not known."""
    outcomes: Outcomes | None = None
    """The candidate's; None in a verdict of an early version of this project."""

    @property
    def clips_in_words(self) -> str:
        """The clips that it is about, as `96 test clips of span 3`."""
        return clips_in_words(self, self.candidate.clips)

    @property
    def headline(self) -> str:
        """The candidate's overall figures in words."""
        low, high = self.candidate.accuracy_interval
        return (
            f"accuracy {self.candidate.accuracy:.1%} on {self.clips_in_words} (95 % interval {low:.1%} to {high:.1%}), "
            f"macro-F1 {self.candidate.macro_f1:.3f}"
        )


class Verdict(Judged):
    """The gate's decision, with everything it rests on. Its own figures are those on the test clips.

    `reasons`: what refused the candidate, or else why it passed.
    """

    blessed: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    genres: tuple[str, ...]
    golden: Judged | None = None
    """The same on the golden set; None where the test clips are it, or there is none."""
    golden_is_test: bool = False
    """Whether the test clips are the golden set."""
    best: Predecessor | None = None
    """The most accurate on these golden clips of all that the champion descends from, and of the champion itself."""
    latency_ms: float | None = None
    """Median time for one clip, where the candidate was judged."""
    megabytes: float | None = None
    """Size of the candidate's SavedModel, in millions of bytes."""

    @property
    def on_golden(self) -> Judged | None:
        """What is of the golden set; None where there is none."""
        return self if self.golden_is_test else self.golden

    @property
    def sets(self) -> tuple[Judged, ...]:
        """The sets of clips that it was judged on, each once, the test clips first."""
        return (self, self.golden) if self.golden else (self,)

    @property
    def account(self) -> tuple[str, ...]:
        """Every check in words, marked with how it ended, and what else is among the reasons."""
        marks = ("FAIL" if not check.passed else "--" if check.limit is None else "ok" for check in self.checks)
        checks = [f"{mark:<4} {check.text}" for mark, check in zip(marks, self.checks, strict=True)]
        # A sentence about several checks ends with one of them.
        notes = [reason for reason in self.reasons if not reason.endswith(tuple(check.text for check in self.checks))]
        return (*checks, *notes)


@dataclass(frozen=True)
class Answers:
    """What the models said of one set of n clips, for k genres.

    Attributes:
      track_ids: n ids.
      truth: int [n], indices of the true genres.
      candidate: float [n, k], probabilities.
      champion: version and float [n, k] probabilities; None: there is none to compare with.
      split: name of the split that the clips are from.
      span: number of the span that they are from; None: not known.
    """

    track_ids: Sequence[str]
    truth: np.ndarray
    candidate: np.ndarray
    champion: tuple[str, np.ndarray] | None = None
    split: str = "test"
    span: int | None = None


def count_of_clips(count: int, kind: str = "") -> str:
    """Counts clips in words, as `96 test clips`; `kind` is the name of their split."""
    return f"{count} {kind + ' ' if kind else ''}clip{'' if count == 1 else 's'}"


def of_span(answers: Answers | Judged) -> str:
    """Names the span of the clips, as ` of span 3`; empty where it is not known."""
    return "" if answers.span is None else f" of span {answers.span}"


def clips_in_words(answers: Answers | Judged, count: int) -> str:
    """Counts clips of a set in words, as `96 test clips of span 3`."""
    return count_of_clips(count, answers.split) + of_span(answers)
