"""The state of a node during a run; apart from `pipeline.local.runner`, so that watching needs no TFX."""

from dataclasses import dataclass
from typing import Literal

State = Literal["waiting", "running", "cached", "done", "failed", "canceled", "skipped"]


@dataclass(frozen=True)
class NodeState:
    """The state of a node in a run, and the seconds that it took."""

    node: str
    state: State
    seconds: float = 0.0
