import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench.harness.timing import (
    ProcessError,
    Sample,
    difference,
    figures,
    in_new_process,
    in_this_process,
    interleave,
    one_after_another,
    ratio,
    spread,
)

OURS = [4.0, 5.0, 3.0, 8.0]
PEER = [9.0, 20.0, 12.0, 16.0]


ROOT = Path(__file__).resolve().parents[3]


def python(code: str, tmp_path: Path) -> Sample:
    return in_new_process([sys.executable, "-c", code], tmp_path / "process.log")


def python_from_a_small_process(code: str, tmp_path: Path) -> Sample:
    """As `python`, from a process without what other tests have left in this one."""
    taking = (
        "import sys\nfrom pathlib import Path\nfrom bench.harness.timing import in_new_process\n"
        "print(in_new_process([sys.executable, '-c', sys.argv[1]], Path(sys.argv[2])).model_dump_json())"
    )
    command = [sys.executable, "-c", taking, code, str(tmp_path / "process.log")]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return Sample.model_validate_json(told.stdout)


def test_spread_is_median_and_extremes() -> None:
    found = spread(PEER)
    assert (found.median, found.low, found.high) == (np.median(PEER), np.min(PEER), np.max(PEER))


def test_ratio_is_that_of_the_medians_between_those_of_the_repeats() -> None:
    pairs = np.divide(PEER, OURS)
    found = ratio(PEER, OURS)
    assert found.median == np.median(PEER) / np.median(OURS)
    assert (found.low, found.high) == (pairs.min(), pairs.max())
    assert found.median != np.median(pairs)


def test_difference_is_that_of_the_medians_between_those_of_the_repeats() -> None:
    pairs = np.subtract(PEER, OURS)
    found = difference(PEER, OURS)
    assert found.median == np.median(PEER) - np.median(OURS)
    assert (found.low, found.high) == (pairs.min(), pairs.max())


def test_repeats_of_unequal_number_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio(PEER, OURS[:-1])


def test_sides_take_turns_and_the_order_turns_round() -> None:
    calls = []

    def side(name: str) -> Sample:
        calls.append(name)
        return Sample(wall=float(len(calls)), cpu=0.0)

    samples = interleave({name: lambda name=name: side(name) for name in "abc"}, 3)
    assert "".join(calls) == "abccbaabc"
    assert [sample.wall for sample in samples["a"]] == [1.0, 6.0, 7.0]
    assert [sample.wall for sample in samples["c"]] == [3.0, 4.0, 9.0]


def test_several_processes_are_added_up_but_for_their_peaks() -> None:
    both = one_after_another(Sample(wall=1, cpu=2, peak_bytes=50), Sample(wall=10, cpu=20, peak_bytes=40))
    assert both == Sample(wall=11, cpu=22, peak_bytes=50)


def test_figures_are_summed_by_repeat() -> None:
    samples = [
        Sample(wall=1, cpu=1, figures={"a": 1, "b": 2, "c": 4}),
        Sample(wall=1, cpu=1, figures={"a": 8, "b": 16}),
    ]
    assert figures(samples, "a", "b") == [3, 24]


def test_waiting_takes_wall_time_and_hardly_any_of_the_processor() -> None:
    sample = in_this_process(lambda: time.sleep(0.2))
    assert sample.wall >= 0.2 > sample.cpu


def test_a_process_is_measured_with_the_children_that_it_waited_for(tmp_path: Path) -> None:
    child = "import time\nheld = bytearray(300_000_000)\nwhile time.process_time() < 0.3: pass"
    idle = python_from_a_small_process("pass", tmp_path)
    busy = python_from_a_small_process(
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)", tmp_path
    )
    assert busy.cpu >= 0.3
    assert busy.wall >= 0.3
    assert busy.peak_bytes >= 300_000_000
    assert 0 < idle.peak_bytes < 300_000_000


def test_a_process_that_fails_is_no_sample(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=r"(?s)exit code 3.*what was wrong"):
        python("import sys; print('what was wrong', flush=True); sys.exit(3)", tmp_path)


def test_a_process_that_is_killed_is_no_sample(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match="exit code -9"):
        python("import os; os.kill(os.getpid(), 9)", tmp_path)
