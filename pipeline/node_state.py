"""The state of a node during a run; apart from `pipeline.local.runner`, so that watching needs no TFX."""

from dataclasses import dataclass
from typing import Literal

State = Literal["waiting", "running", "cached", "done", "failed", "canceled", "skipped"]


@dataclass(frozen=True)
class NodeState:
    """What became of a node in this run."""

    node: str
    state: State
    seconds: float = 0.0
