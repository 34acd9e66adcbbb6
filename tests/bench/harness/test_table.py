from pathlib import Path

import pytest

from bench.harness.machine import this_machine
from bench.harness.result import Result, Row, read_results, write_result
from bench.harness.table import BEGIN, END, markdown, write_into
from bench.harness.timing import Sample, Spread
from components.base.errors import UserError


def row(median: float, relation: str, bound: float = 2.0) -> Row:
    measured = Spread(median=median, low=median - 0.5, high=median + 0.5)
    return Row(what="ours | theirs", measured=measured, unit="x faster", relation=relation, bound=bound)


def result(name: str = "mel", rows: tuple[Row, ...] = ()) -> Result:
    samples = tuple(
        Sample(wall=wall, cpu=2 * wall, peak_bytes=(100 + index) * 2**20) for index, wall in enumerate((3, 1, 2))
    )
    return Result(
        name=name,
        about="this against that",
        clips=48,
        seconds=30.0,
        repeats=3,
        date="2026-01-02 03:04",
        commit="0123456789",
        machine=this_machine(),
        rows=rows,
        sides={"ours": samples},
        notes=("It was a quiet day.",),
    )


@pytest.mark.parametrize(
    ("median", "relation", "met"),
    [(2.0, ">=", True), (1.99, ">=", False), (2.0, "<=", True), (2.01, "<=", False), (9.0, "", None)],
)
def test_the_median_is_held_against_the_bound(median: float, relation: str, met: bool | None) -> None:
    assert row(median, relation).met is met


def test_what_is_written_is_read(tmp_path: Path) -> None:
    first, second = result("mel", (row(3.0, ">="),)), result("ingest", (row(1.0, ">="),))
    for each in (first, second, first):
        write_result(tmp_path, each)
    assert read_results(tmp_path) == {"mel": first, "ingest": second}
    assert {path.name for path in tmp_path.iterdir()} == {"mel.json", "ingest.json"}


def test_a_result_that_was_cut_off_is_named(tmp_path: Path) -> None:
    write_result(tmp_path, result())
    whole = (tmp_path / "mel.json").read_text()
    (tmp_path / "mel.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"mel\.json"):
        read_results(tmp_path)


def test_no_results_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no results"):
        read_results(tmp_path)


def test_the_table_shows_figures_targets_and_misses() -> None:
    text = markdown([result("mel", (row(3.0, ">="), row(1.5, ">="), row(7.0, "")))])
    assert "| mel | ours / theirs | 3 (2.5 to 3.5) x faster | >= 2 x faster | met |" in text
    assert "| mel | ours / theirs | 1.5 (1 to 2) x faster | >= 2 x faster | **missed** |" in text
    assert "| mel | ours / theirs | 7 (6.5 to 7.5) x faster | stated |  |" in text
    assert "| ours | 2 (1 to 3) | 4 | 102 MiB |" in text
    assert "2026-01-02 03:04, commit 0123456789" in text
    assert "- It was a quiet day." in text


def test_machines_that_differ_are_all_named() -> None:
    other = result("ingest").model_copy(update={"machine": this_machine().model_copy(update={"processor": "Abacus"})})
    same = markdown([result(), result("ingest")])
    assert same.count("Measured on") == 1
    both = markdown([result(), other])
    assert both.count("Measured on") == 2
    assert "Measured on Abacus" in both


def test_only_what_is_between_the_markers_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# Before\n{BEGIN}\nold\n{END}\nAfter\n")
    for _ in range(2):
        write_into(page, "new\n")
        assert page.read_text() == f"# Before\n{BEGIN}\nnew\n{END}\nAfter\n"


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("# Mine\n")
    with pytest.raises(UserError, match="no place for the table"):
        write_into(page, "new\n")
    assert page.read_text() == "# Mine\n"


def test_a_page_is_made(tmp_path: Path) -> None:
    write_into(tmp_path / "new" / "page.md", "new\n")
    write_into(tmp_path / "new" / "page.md", "newer\n")
    assert (tmp_path / "new" / "page.md").read_text() == f"{BEGIN}\nnewer\n{END}\n"
