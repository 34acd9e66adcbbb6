"""The parameters of GateEvaluator."""

from components.base.section import Section
from components.evaluation.config import GateConfig
from components.evaluation.results import Predecessor


class EvaluatorParameters(Section):
    """The conditions that a candidate must meet, and the sets of clips that it is measured on."""

    genres: tuple[str, ...]
    """The class list, in the order of the model's answers."""
    gate: GateConfig
    span: int
    """Number of the newest span."""
    tested: tuple[int, ...]
    """Numbers of the spans that the test clips are of: the newest, or a small one with the span that it belongs to."""
    golden_span: int | None
    """Number of the span whose test clips are the golden set; if it alone is `tested`, split `golden` is not read.
    Null: there is no golden set."""
    best: Predecessor | None
    """The best of the champion's line on the golden set; null: none did better than the champion."""
    code: str
