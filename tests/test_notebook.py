"""The notebook in docs/ runs from beginning to end; what is kept of its outputs is small and from no machine."""

import os
import re
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NOTEBOOK = REPOSITORY / "docs" / "notebook.ipynb"


def printed(notebook: nbformat.NotebookNode) -> str:
    """All text that the cells gave."""
    outputs = (output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def test_what_is_kept_is_small_whole_and_from_no_machine() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert NOTEBOOK.stat().st_size < 100_000
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)], "all cells, once, in order"
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert not re.search(r"(?<![\w.])/(home|root|tmp|usr|work)/", printed(notebook))


@pytest.mark.long
def test_it_runs_from_beginning_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (tmp_path / "here").mkdir()
    place = {"metadata": {"path": str(tmp_path / "here")}}
    nbclient.NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=place).execute()
    text = printed(notebook)
    assert "pushed as version 1" in text and re.search(r"^PushedModel  workspace/", text, re.M)
    assert all(f"\n{'  ' * depth}{kind}  workspace/" in text for depth, kind in ((1, "Model"), (2, "Examples")))
    assert re.search(r"^True \{'audio health'", text, re.M), "the worn tapes are drift"
    assert "rms_dbfs" in text and "cross-entropy" in text and "'Rock'" in text
