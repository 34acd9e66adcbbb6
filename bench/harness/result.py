"""The result of a benchmark, which is kept as a JSON file."""

from dataclasses import dataclass
from pathlib import Path

from etils import epath

from bench.harness.machine import Machine
from bench.harness.timing import Sample, Spread
from components.base.errors import UserError
from components.base.files import write_atomically
from components.base.json_records import read_record
from components.base.section import Section


@dataclass(frozen=True)
class Measured:
    """The return value of a benchmark's `measure`."""

    sides: dict[str, tuple[Sample, ...]]
    figures: dict[str, Spread]
    """Figures by the key of their target in `bench.harness.registry`."""
    notes: tuple[str, ...] = ()
    """Remarks, such as which part was left out, and why."""


class Row(Section):
    """One figure and its target."""

    what: str
    measured: Spread
    unit: str
    relation: str
    bound: float

    @property
    def met(self) -> bool | None:
        """True if the median is within the bound; None where there is no bound."""
        if not self.relation:
            return None
        median = self.measured.median
        return median >= self.bound if self.relation == ">=" else median <= self.bound


class Result(Section):
    """A finished benchmark."""

    name: str
    about: str
    clips: int
    seconds: float
    """Length of a clip, in seconds."""
    repeats: int
    date: str
    commit: str
    machine: Machine
    rows: tuple[Row, ...]
    sides: dict[str, tuple[Sample, ...]]
    notes: tuple[str, ...]


def write_result(directory: Path, result: Result) -> None:
    """Puts `result` into `directory` in the place of an earlier one, whole or not at all."""
    write_atomically(epath.Path(directory / f"{result.name}.json"), result.model_dump_json(indent=2) + "\n")


def read_results(directory: Path) -> dict[str, Result]:
    """Reads all results in `directory`, by name.

    Raises:
      UserError: there are none, or one is damaged.
    """
    results = {
        file.stem: read_record(epath.Path(file), Result, f"`python -m bench {file.stem}` measures again.")
        for file in sorted(directory.glob("*.json"))
    }
    if not results:
        raise UserError(f"{directory}: no results. `python -m bench` makes them.")
    return results
