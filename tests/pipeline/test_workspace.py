"""The workspace: the names of its runs, and who may use it."""

import re
from pathlib import Path

import pytest
from etils import epath

from components.base.errors import UserError
from pipeline.workspace import Workspace, root_path


def test_runs_that_begin_in_the_same_second_have_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(epath.Path(tmp_path))
    assert re.fullmatch(r"\d{8}-\d{6}", workspace.new_run_id())
    monkeypatch.setattr("time.strftime", lambda _: "20260301-120000")
    names = []
    for _ in range(3):
        names.append(workspace.new_run_id())
        assert workspace.new_run_id() == names[-1], "it is taken by making its directory"
        workspace.run(names[-1]).mkdir(parents=True)
    assert names == ["20260301-120000", "20260301-120000-2", "20260301-120000-3"]
    assert sorted(names) == names, "as they began"


def test_a_run_on_this_machine_needs_its_workspace_here() -> None:
    workspace = Workspace(epath.Path("gs://bucket/genre"))
    with pytest.raises(UserError, match="gs://bucket/genre: a run on this machine needs a workspace on this machine"):
        workspace.new_run_id()


@pytest.mark.parametrize("name", ["ws [1]", "ws*", "w?", "a\\b"])
def test_a_path_that_beam_takes_for_a_pattern_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"a workspace cannot have .* Choose another with --workspace"):
        _ = Workspace(root_path(f"/music/{name}/workspace")).local
    assert Workspace(root_path("/music/{a} '#\n/workspace")).local
