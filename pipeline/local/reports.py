"""The reports of a workspace, as files to open: the list of all runs, and the latest report under a fixed name.

<workspace>/reports/index.html   all runs whose folders are there; see `components.reporting.runs`
<workspace>/reports/latest.html  the report of the last run that had one
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from etils import epath
from pydantic import ValidationError

from components.base.files import replacing
from components.reporting.runs import RunRow, render_runs
from components.retraining.policy import spans_in_words
from pipeline.local.summary import Summary
from pipeline.workspace import Workspace

_SONGS = "songs and labels (digest)"
"""Name, among the settings of two runs that differ, of what the newest span holds."""


def write_reports(workspace: Workspace, name: str) -> None:
    """Writes both files anew, from the summaries of all runs.

    Args:
      workspace: on this machine.
      name: of the pipeline.

    Raises:
      OSError: they cannot be written.
    """
    directory = workspace.reports
    directory.mkdir(parents=True, exist_ok=True)
    summaries = list(_summaries(workspace))
    page = render_runs([_row(summary, directory) for summary in summaries], name)
    with replacing(epath.Path(directory / "index.html")) as file:
        file.write_text(page, encoding="utf-8")
    reports, latest = [Path(summary.report) for summary in summaries if summary.report], directory / "latest.html"
    # The latest one stays when its artifact is removed, and no older one takes its place.
    newest = next((each for each in (reports[:1] if latest.exists() else reports) if each.is_file()), None)
    # Of two names of one file, the system does not rename one to the other.
    if newest and not (latest.exists() and latest.samefile(newest)):
        with replacing(epath.Path(latest)) as file:
            _link(newest, file)


def _link(source: Path, target: Path) -> None:
    """Gives a file a second name, without taking room; where the disk cannot, copies it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _summaries(workspace: Workspace) -> Iterator[Summary]:
    """Reads the summaries of all runs, the newest first; passes over those of other versions of this project."""
    for file in sorted(
        workspace.local.glob("runs/*/summary.json"), key=lambda path: path.stat().st_mtime, reverse=True
    ):
        with suppress(ValidationError, OSError):
            yield Summary.model_validate_json(file.read_bytes())


def _row(summary: Summary, directory: Path) -> RunRow:
    outcome, state = _outcome(summary)
    verdict = summary.verdict
    figures: dict[str, float | None] = {}
    if summary.metrics:
        figures = {
            "accuracy": summary.accuracy,
            "macro-F1": summary.macro_f1,
            "log loss": summary.metrics.log_loss,
            "calibration error": summary.metrics.expected_calibration_error,
            "golden": summary.golden.accuracy if summary.golden else None,
        }
    report = Path(summary.report) if summary.report else None
    return RunRow(
        run_id=summary.run_id,
        outcome=outcome,
        state=state,
        kind=str(summary.config.get("model", {}).get("kind", "")),
        spans=spans_in_words(summary.window),
        figures=figures,
        seconds=summary.seconds,
        reasons=(summary.error,)
        if summary.error
        else verdict.account
        if verdict
        else summary.decision.reasons
        if summary.decision
        else (),
        settings=dict(_flat(summary.config)) | {_SONGS: summary.dataset.digest[:16]},
        nodes={name: node.seconds for name, node in summary.nodes.items() if not node.cached},
        report=os.path.relpath(report, directory) if report and report.is_file() else None,
    )


def _outcome(summary: Summary) -> tuple[str, str]:
    """Returns what became of a run, in words, and whether that is good or bad."""
    if summary.status == "failed":
        return "failed", "bad"
    if summary.pushed and not summary.newly_pushed:
        return f"nothing to do: version {summary.pushed.version}", ""
    if summary.pushed:
        return f"pushed as version {summary.pushed.version}", "good"
    if summary.verdict:
        return ("accepted, not pushed", "") if summary.blessed else ("refused", "bad")
    return (summary.decision.action if summary.decision else "ended early"), ""


def _flat(section: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yields every setting by its dotted key."""
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if isinstance(value, str) else json.dumps(value)
