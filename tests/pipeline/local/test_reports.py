"""The list of runs and the latest report of a workspace, from the summaries that its runs left."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from etils import epath

from components.evaluation.config import GateConfig
from components.evaluation.gate import judge
from components.evaluation.predictions import ScoredClips
from components.library.layout import Manifest
from pipeline.commands.clean import clean
from pipeline.local.cache import open_metadata
from pipeline.local.reports import write_reports
from pipeline.local.summary import ModelSummary, NodeSummary, Summary
from pipeline.planning.prospect import prospect
from pipeline.workspace import Workspace

TRUTH = np.array([0, 1, 0, 1])


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(epath.Path(tmp_path))


def add(workspace: Workspace, number: int, right: int, **changes: object) -> Path:
    """A run whose candidate is right about so many of four clips; returns its report."""
    said = np.eye(2)[np.where(np.arange(4) < right, TRUTH, 1 - TRUTH)]
    verdict = judge(GateConfig(), ("a", "b"), ScoredClips(list("1234"), TRUTH, said), latency_ms=1.0, megabytes=1.0)
    report = workspace.local / "artifacts/Reporter/report" / str(number) / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text(f"report {number}")
    manifest = Manifest(
        span=1,
        source="",
        digest="0123456789abcdef" * 4,
        input_files=4,
        splits={},
        rejects={},
        genres=(),
        schema_digest="",
        files={},
    )
    pushed = ModelSummary(version=number, path="") if verdict.blessed else None
    summary = Summary(
        status="succeeded",
        error=None,
        run_id=f"2026030{number}-060000",
        config_digest="",
        config={"name": "genre", "model": {"kind": "knn", "options": {}}, "train": {"epochs": number}},
        data="",
        dataset=manifest,
        window=(1,),
        decision=None,
        drift=None,
        seconds=10.0,
        nodes={"StorePusher": NodeSummary(state="done", cached=False, seconds=1.0)},
        accuracy=verdict.candidate.accuracy,
        accuracy_interval=verdict.candidate.accuracy_interval,
        macro_f1=verdict.candidate.macro_f1,
        metrics=verdict.candidate,
        golden=None,
        blessed=verdict.blessed,
        verdict=verdict,
        pushed=pushed,
        newly_pushed=pushed is not None,
        model=None,
        rolled_back=None,
        served=pushed,
        report=str(report),
        log="",
    ).model_copy(update=changes)
    file = workspace.run(summary.run_id) / "summary.json"
    file.parent.mkdir(parents=True)
    file.write_text(summary.model_dump_json())
    os.utime(file, (number, number))
    return report


def listed(workspace: Workspace) -> list[dict[str, object]]:
    page = (workspace.reports / "index.html").read_text()
    return json.loads(page.partition('id="data">')[2].partition("</script>")[0])


def test_the_newest_run_comes_first_with_the_figures_of_its_summary(workspace: Workspace) -> None:
    add(workspace, 1, 4)
    add(workspace, 2, 1)
    add(
        workspace,
        3,
        4,
        status="failed",
        error="Trainer failed: no room",
        verdict=None,
        metrics=None,
        report=None,
    )
    (workspace.run("20250101-000000")).mkdir()
    (workspace.run("20250101-000000") / "summary.json").write_text("{}")  # of another version of this project
    write_reports(workspace, "genre")
    failed, refused, pushed = listed(workspace)
    assert [run["Outcome"] for run in (failed, refused, pushed)] == ["failed", "refused", "pushed as version 1"]
    assert failed["reasons"] == ["Trainer failed: no room"] and failed["figures"] == {}
    assert refused["figures"]["accuracy"] == "25.0 %" and pushed["figures"]["accuracy"] == "100.0 %"
    assert any("is below the floor" in reason for reason in refused["reasons"])
    assert refused["settings"] == {"train.epochs": "2"}, "what all runs have in common is left out"
    assert list(refused["figures"])[:3] == ["accuracy", "macro-F1", "log loss"], "in their order"
    page = (workspace.reports / "index.html").read_text()
    assert 'href="../artifacts/Reporter/report/2/report.html"' in page


def test_the_latest_report_stays_when_its_artifact_goes(workspace: Workspace) -> None:
    latest = workspace.reports / "latest.html"
    first = add(workspace, 1, 4)
    write_reports(workspace, "genre")
    assert latest.read_text() == "report 1"
    second = add(workspace, 2, 4)
    write_reports(workspace, "genre")
    write_reports(workspace, "genre")
    assert latest.read_text() == "report 2"
    assert sorted(path.name for path in workspace.reports.iterdir()) == ["index.html", "latest.html"]
    assert first.read_text() == "report 1"
    second.unlink()
    write_reports(workspace, "genre")
    assert latest.read_text() == "report 2" and "report/2/" not in (workspace.reports / "index.html").read_text()
    latest.unlink()
    write_reports(workspace, "genre")
    assert latest.read_text() == "report 1"


@pytest.mark.parametrize("option", [[], ["--cache"], ["--dry-run"]])
def test_after_cleaning_no_link_leads_nowhere(place: Any, option: list[str]) -> None:
    workspace = prospect(place.config(), asked=True).inputs.workspace
    workspace.local.mkdir()
    open_metadata(workspace)
    for number in (1, 2):
        add(workspace, number, 4)
    write_reports(workspace, "genre")
    settings = [f"--set={key}={value}" for key, value in (("data", place.data), ("workspace", place.workspace))]
    assert CliRunner().invoke(clean, [*settings, *option]).exit_code == 0
    page = (workspace.reports / "index.html").read_text()
    links = re.findall(r'href="([^"]*)"', page)
    assert all((workspace.reports / link).is_file() for link in links)
    assert len(links) == (3 if option == ["--dry-run"] else 1), "a removed report has no link; latest.html stays"
    assert [run["id"] for run in listed(workspace)] == ["20260302-060000", "20260301-060000"]
    assert (workspace.reports / "latest.html").read_text() == "report 2"
