"""How far a training is, from what it has written."""

import json
import os
from pathlib import Path

import pytest

from pipeline.local.training import TrainingProgress


@pytest.fixture
def progress(tmp_path: Path) -> TrainingProgress:
    return TrainingProgress(tmp_path / "checkpoints", 40, tmp_path / "logs", start=1000.0)


def write(progress: TrainingProgress, name: str, epochs: int, at: float, seconds: float = 2.0) -> None:
    """As `models.fitting.progress` does after an epoch."""
    path = progress.checkpoints / name / "epochs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = [
        {"epoch": number, "loss": 2.0 / number, "val_accuracy": 0.5, "seconds": seconds}
        for number in range(1, epochs + 1)
    ]
    path.write_text(json.dumps(done))
    os.utime(path, (at, at))


def test_nothing_is_known_before_the_first_epoch(progress: TrainingProgress) -> None:
    assert progress.figures() == ""
    write(progress, "earlier", 7, at=999.0)
    assert progress.figures() == ""
    assert progress.where() == f"TensorBoard: `genre tensorboard` shows {progress.logs}"


def test_the_newest_training_counts(progress: TrainingProgress) -> None:
    write(progress, "a", 3, at=1001.0)
    write(progress, "b", 4, at=1002.0, seconds=30.0)
    assert progress.figures() == "epoch 4 of at most 40, loss 0.500, validation accuracy 50%, at most 18 min left"
    write(progress, "a", 39, at=1003.0)
    assert progress.figures() == "epoch 39 of at most 40, loss 0.051, validation accuracy 50%, at most 2 s left"


def test_a_file_that_is_being_removed_says_nothing(progress: TrainingProgress) -> None:
    write(progress, "a", 1, at=1001.0)
    (progress.checkpoints / "a" / "epochs.json").write_text("")
    assert progress.figures() == ""
