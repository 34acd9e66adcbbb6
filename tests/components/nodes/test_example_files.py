"""Files of examples made one of another, read back by everything that reads an Examples artifact."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import apache_beam as beam
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from components.base.errors import UserError
from components.beam.config import BeamConfig
from components.beam.options import beam_args
from components.library.tfrecords import RecordWriter, StoredFile, read_records
from components.nodes.example_files import (
    DamagedFilesError,
    FileStep,
    Written,
    dataset_of,
    make_files,
    plan_split,
    take_over,
)

RECORDS = [bytes([number]) * 3000 for number in range(20)]


def pipeline() -> beam.Pipeline:
    return beam.Pipeline(options=PipelineOptions(beam_args(BeamConfig(mode="multi_threading", workers=2))))


def copy(step: FileStep) -> Iterator[bytes]:
    return dataset_of(step).as_numpy_iterator()


def write_source(file: Path, records: list[bytes]) -> StoredFile:
    with file.open("wb") as out:
        writer = RecordWriter(out)
        for record in records:
            writer.write(record)
    return writer.written()


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Three files of 10, 7 and 3 records."""
    directory = tmp_path / "sources"
    directory.mkdir()
    for name, records in {"a": RECORDS[:10], "b": RECORDS[10:17], "c": RECORDS[17:]}.items():
        write_source(directory / name, records)
    return directory


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., list[Path]]:
    """Makes a copy of all sources, and returns its files in order."""

    def run(pattern: Path, name: str = "target", deflate: bool = False) -> list[Path]:
        scratch = tmp_path / f"scratch-{name}"
        scratch.mkdir()
        steps = plan_split([str(pattern)], str(tmp_path / name), "data")
        make_files(pipeline(), steps, Written(copy, deflate), str(scratch))
        assert list(scratch.iterdir()) == []
        return sorted((tmp_path / name).iterdir())

    return run


@pytest.mark.parametrize("deflate", [False, True])
def test_every_reader_takes_them(sources: Path, make: Callable, deflate: bool) -> None:
    files = make(sources / "*", deflate=deflate)
    assert [file.name for file in files] == [f"data-{number:05d}-of-00003.gz" for number in range(3)]
    for file, expected in zip(files, (RECORDS[:10], RECORDS[10:17], RECORDS[17:]), strict=True):
        assert list(tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator()) == expected
        with gzip.open(file) as inside:
            assert list(read_records(inside)) == expected
    with pipeline() as check:
        assert_that(check | beam.io.ReadFromTFRecord(str(files[0].parent / "*")), equal_to(RECORDS))


def test_deflating_is_a_choice(sources: Path, make: Callable) -> None:
    size = sum(file.stat().st_size for file in sources.iterdir())
    stored = sum(file.stat().st_size for file in make(sources / "*", "stored"))
    deflated = sum(file.stat().st_size for file in make(sources / "*", "deflated", deflate=True))
    assert size < stored < 1.01 * size
    assert deflated < 0.1 * size


def test_the_same_sources_give_the_same_bytes(sources: Path, make: Callable) -> None:
    first, second = make(sources / "*", "first"), make(sources / "*", "second")
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_gzipped_sources_are_read_as_such(sources: Path, make: Callable) -> None:
    once = make(sources / "*", "once", deflate=True)
    again = make(once[0].parent / "*", "again")
    found = list(tf.data.TFRecordDataset([str(file) for file in again], "GZIP").as_numpy_iterator())
    assert found == RECORDS


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("harm", ["a bit", "the end"])
def test_damaged_sources_are_all_named_and_nothing_is_made_of_them(
    sources: Path, make: Callable, tmp_path: Path, harm: str, zipped: bool
) -> None:
    if zipped:
        directory = make(sources / "*", "zipped")[0].parent
        whole, *damaged = sorted(directory.iterdir())
    else:
        directory = sources
        whole, *damaged = sorted(sources.iterdir())
    for file in damaged:
        data = bytearray(file.read_bytes())
        if harm == "the end":
            del data[-1000:]
        else:
            data[len(data) // 2] ^= 1
        file.write_bytes(data)
    with pytest.raises(UserError) as refusal:
        make(directory / "*")
    assert all(str(file) in str(refusal.value) for file in damaged)
    assert str(whole) not in str(refusal.value)
    assert [file.name for file in (tmp_path / "target").iterdir()] == ["data-00000-of-00003.gz"]


def test_a_split_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such files"):
        plan_split([str(tmp_path / "*")], str(tmp_path / "target"), "data")


def test_a_failing_worker_fails_the_whole_and_leaves_no_file(sources: Path, tmp_path: Path) -> None:
    def fail(step: FileStep) -> Iterator[bytes]:
        yield from dataset_of(step).take(2).as_numpy_iterator()
        raise ValueError("halfway")

    (tmp_path / "scratch").mkdir()
    (tmp_path / "target").mkdir()
    step = FileStep(str(sources / "a"), str(tmp_path / "target" / "data.gz"))
    with pytest.raises(Exception, match="halfway"):
        make_files(pipeline(), [step], Written(fail, deflate=False), str(tmp_path / "scratch"))
    assert list((tmp_path / "target").iterdir()) == []


def taken_over(step: FileStep, scratch: Path) -> None:
    scratch.mkdir(exist_ok=True)
    Path(step.target).parent.mkdir(exist_ok=True)
    try:
        make_files(pipeline(), [step], take_over, str(scratch))
    finally:
        for file in scratch.iterdir():
            file.unlink()


def test_a_source_must_be_what_is_expected(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "target" / "a"
    expected = write_source(source, RECORDS)
    whole = source.read_bytes()
    assert (expected.bytes, expected.records) == (len(whole), 20)

    def reason(expected: StoredFile) -> str:
        with pytest.raises(DamagedFilesError) as refusal:
            taken_over(FileStep(str(source), str(target), expected), tmp_path / "scratch")
        assert refusal.value.files == {str(source)}
        assert not target.exists()
        return str(refusal.value)

    assert "damaged: it has 20 records, and 21 in the manifest" in reason(expected.model_copy(update={"records": 21}))
    write_source(source, RECORDS[:10])  # cut off between two records: a TFRecord file as any other
    assert f"damaged: it has {len(whole) // 2} bytes, and {len(whole)} in the manifest" in reason(expected)
    source.write_bytes(b"")
    assert f"damaged: it has 0 bytes, and {len(whole)} in the manifest" in reason(expected)
    write_source(source, [*RECORDS[1:], RECORDS[0]])
    assert "damaged: its SHA-256 is not the manifest's" in reason(expected)
    source.unlink()
    assert f"{source}: missing" in reason(expected)
    source.write_bytes(whole)
    taken_over(FileStep(str(source), str(target), expected), tmp_path / "scratch")
    assert list(tf.data.TFRecordDataset(str(target)).as_numpy_iterator()) == RECORDS
    assert target.samefile(source)
    target.unlink()
    taken_over(FileStep(str(source), str(target), StoredFile(sha256=expected.sha256)), tmp_path / "scratch")
    assert target.exists()


def test_a_source_that_cannot_be_read_now_is_not_damaged(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match=r"cannot be read now:\n.*a: EISDIR \(Is a directory\)") as refusal:
        taken_over(FileStep(str(tmp_path / "a"), str(tmp_path / "target" / "a"), StoredFile(sha256="")), tmp_path / "s")
    assert not isinstance(refusal.value, DamagedFilesError)


def test_on_another_file_system_a_source_is_copied(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system at /dev/shm")
    with TemporaryDirectory(dir=memory) as other:
        source, target = Path(other, "a"), tmp_path / "target" / "a"
        expected = write_source(source, RECORDS)
        linked = Path(other, "link")
        linked.symlink_to(source)
        taken_over(FileStep(str(linked), str(target), expected), tmp_path / "scratch")
        assert target.read_bytes() == source.read_bytes()
        inside = FileStep(str(linked), str(Path(other, "target", "a")), expected)
        taken_over(inside, Path(other, "scratch"))
        assert Path(inside.target).samefile(source)
        assert not Path(inside.target).is_symlink()
