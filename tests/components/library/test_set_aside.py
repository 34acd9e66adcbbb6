"""Spans that cannot be used: what is kept of them, for how long it holds, and how it ends."""

from pathlib import Path

import pytest
from etils import epath

from components.base.errors import UserError
from components.library.layout import Manifest, span_dir
from components.library.left_out import set_aside_spans
from components.library.set_aside import read_set_aside, restore, unusable
from components.library.span_import import SpanImport

DAMAGED = UserError("damaged TFRecord files: part-00000")


@pytest.fixture
def directory(tmp_path: Path) -> epath.Path:
    return epath.Path(tmp_path / "set-aside")


@pytest.fixture
def data(tmp_path: Path) -> epath.Path:
    for span in (1, 2, 10):
        write_span(epath.Path(tmp_path / "data"), span, f"digest of {span}")
    return epath.Path(tmp_path / "data")


def write_span(data: epath.Path, span: int, digest: str) -> None:
    directory = span_dir(data, span)
    directory.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(
        span=span,
        source="test",
        digest=digest,
        input_files=1,
        splits={},
        rejects={},
        genres=(),
        schema_digest="",
        files={},
    )
    (directory / "manifest.json").write_text(manifest.model_dump_json())


def whole(span: int) -> dict[int, str]:
    return {span: f"digest of {span}"}


def test_what_is_set_aside_and_why_is_kept_and_said(directory: epath.Path, data: epath.Path) -> None:
    assert set_aside_spans(directory, data) == read_set_aside(directory) == []
    for span in (10, 2):
        told = unusable(str(directory), whole(span), DAMAGED)
        assert str(told).startswith(str(DAMAGED))
        assert f"train without span {span} from now on" in str(told)
        assert f"genre spans --restore {span}" in str(told)
    records = set_aside_spans(directory, data)
    assert [(each.span, each.reason) for each in records] == [(2, str(DAMAGED)), (10, str(DAMAGED))]
    assert unusable(str(directory), whole(2), UserError("worse")).args != told.args
    assert [each.reason for each in read_set_aside(directory)] == ["worse", str(DAMAGED)]


def test_only_a_whole_span_is_set_aside(directory: epath.Path) -> None:
    for source in (
        SpanImport(span=None, splits={"train": ()}, digest="code"),  # an empty slot
        SpanImport(span=2, splits={"test": ("span-2/test",)}, digest="several"),  # what is held out
    ):
        assert unusable(str(directory), source.whole, DAMAGED) is DAMAGED
    assert not directory.exists()
    source = SpanImport(span=2, splits={}, digest="of span and code", manifest="digest of 2")
    assert source.whole == whole(2)


def test_several_spans_are_set_aside_at_once(directory: epath.Path, data: epath.Path) -> None:
    told = str(unusable(str(directory), whole(1) | whole(2), DAMAGED))
    assert "train without span 1, span 2 from now on" in told
    assert [each.span for each in set_aside_spans(directory, data)] == [1, 2]


def test_another_span_under_the_same_number_is_used(directory: epath.Path, data: epath.Path) -> None:
    unusable(str(directory), whole(2), DAMAGED)
    write_span(data, 2, "digest of what was ingested anew")
    assert set_aside_spans(directory, data) == []
    write_span(data, 2, "digest of 2")
    assert [each.span for each in set_aside_spans(directory, data)] == [2]
    (span_dir(data, 2) / "manifest.json").unlink()
    assert set_aside_spans(directory, data) == []


def test_a_restored_span_is_used(directory: epath.Path, data: epath.Path) -> None:
    for span in (1, 2):
        unusable(str(directory), whole(span), DAMAGED)
    restore(directory, 2)
    assert [each.span for each in set_aside_spans(directory, data)] == [1]
    with pytest.raises(UserError, match=r"span 2 is not set aside \(spans that are: 1\)"):
        restore(directory, 2)


def test_nothing_to_restore(directory: epath.Path) -> None:
    with pytest.raises(UserError, match=r"span 3 is not set aside \(spans that are: none\)"):
        restore(directory, 3)


@pytest.mark.parametrize("text", ["{", '{"span": 2}', '{"span": 2, "digest": "", "time": "noon", "reason": ""}'])
def test_a_damaged_record_is_named_and_can_be_restored(directory: epath.Path, data: epath.Path, text: str) -> None:
    unusable(str(directory), whole(2), DAMAGED)
    (directory / "2.json").write_text(text)
    with pytest.raises(UserError, match=r"2\.json: damaged: .*Remove it, and the span is used again"):
        set_aside_spans(directory, data)
    restore(directory, 2)
    assert set_aside_spans(directory, data) == []


def test_the_damage_is_told_even_where_no_record_can_be_written(directory: epath.Path) -> None:
    directory.write_text("a file in the way")
    told = str(unusable(str(directory), whole(2), DAMAGED))
    assert told.startswith(f"{DAMAGED}\nSpan 2 cannot be set aside: {directory / '2.json'}: ")
