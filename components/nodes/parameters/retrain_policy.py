"""The parameters of RetrainPolicy."""

from components.base.section import Section
from components.retraining.config import RetrainConfig
from components.retraining.policy import Facts


class PolicyParameters(Section):
    """The rules, and the facts that they are applied to."""

    retrain: RetrainConfig
    facts: Facts
    data: str
    """Root of the library."""
    history: str | None
    """Directory of the records; null: the decision is not recorded."""
    now: str
    """ISO 8601. No two runs have the same, so that no cache answers in the place of this node."""
