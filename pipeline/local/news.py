"""What a run has to tell people: messages about what is new in it, and not about what it took from the cache."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.notifying.config import NotifyConfig
from pipeline.notifying.outbox import Message, Outbox, message
from pipeline.output import echo

if TYPE_CHECKING:
    from pipeline.local.summary import Summary
    from pipeline.workspace import Workspace

_PATIENCE = 20.0
"""Seconds for which a run waits for its messages to be delivered, at most."""


def tell(summary: "Summary", workspace: "Workspace", config: NotifyConfig) -> None:
    """Sends the messages about a run. Those that nobody takes now are sent after a later run, or by `genre watch`."""
    outbox = Outbox(workspace.local, config, lambda problem: echo(f"not delivered yet: {problem}", err=True))
    for each in news(summary, str(workspace.root)):
        outbox.put(each)
    outbox.deliver(_PATIENCE)


def news(summary: "Summary", workspace: str) -> Iterator[Message]:
    """Yields a message for each event of a run."""

    def new(node: str) -> bool:
        return node in summary.nodes and not summary.nodes[node].cached

    about: dict[str, object] = {
        "span": summary.dataset.span,
        "run": summary.run_id,
        "accuracy": summary.accuracy,
        "report": Path(summary.report).as_uri() if summary.report else None,
        "log": Path(summary.log).as_uri() if summary.log else None,
    }
    place = f"{workspace}, span {summary.dataset.span}"
    if summary.drift and summary.drift.drifted and new("DriftDetector"):
        text = f"{place}: {summary.drift.headline}"
        yield message("drifted", text, workspace, reasons=summary.drift.findings, **about)
    for span in summary.set_aside:
        text = f"{workspace}: span {span} cannot be used, and is set aside: {summary.error}"
        yield message("set aside", text, workspace, **about | {"span": span})
    verdict = summary.verdict
    if summary.pushed and summary.newly_pushed:
        text = f"{place}: pushed as version {summary.pushed.version}, {verdict.headline if verdict else ''}"
        reasons = verdict.reasons if verdict else ()
        yield message("pushed", text, workspace, version=summary.pushed.version, reasons=reasons, **about)
    if verdict and not verdict.blessed and new("GateEvaluator"):
        text = f"{place}: refused: {'; '.join(verdict.reasons)}"
        yield message("refused", text, workspace, reasons=verdict.reasons, **about)
    if summary.error:
        yield message("failed", f"{place}: failed: {summary.error}", workspace, reasons=(summary.error,), **about)
