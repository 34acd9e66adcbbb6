"""How far a training is, from the file that it writes after every epoch."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class TrainingProgress:
    """The training of a run on this machine."""

    checkpoints: Path
    """Holds a directory for each training, with its `epochs.json`; see `models.fitting.progress`."""
    epochs: int
    """Largest number of epochs."""
    logs: Path
    """TensorBoard's logs."""
    start: float = field(default_factory=time.time)

    def figures(self) -> str:
        """Describes the last epoch and the time that is left; empty before the first, and for kinds without epochs."""
        written = [
            (changed, path)
            for path in self.checkpoints.glob("*/**/epochs.json")
            if (changed := _changed(path)) >= self.start
        ]
        if not written:
            return ""
        try:
            epochs = json.loads(max(written)[1].read_text())
        except (OSError, ValueError):  # removed meanwhile
            return ""
        last = epochs[-1]
        left = max(0, self.epochs - len(epochs)) * sum(each["seconds"] for each in epochs) / len(epochs)
        figures = [f"epoch {last['epoch']} of at most {self.epochs}", f"loss {last['loss']:.3f}"]
        if "val_accuracy" in last:
            figures.append(f"validation accuracy {last['val_accuracy']:.0%}")
        return ", ".join([*figures, f"at most {_duration(left)} left"])

    def where(self) -> str:
        """Names TensorBoard's logs."""
        return f"TensorBoard: `genre tensorboard` shows {self.logs}"


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
