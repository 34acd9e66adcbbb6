"""Results as tables: on the terminal, and as Markdown."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.harness.cost import ONE_MACHINE, StepCost, step_costs
from bench.harness.registry import Benchmark
from bench.harness.result import Result, Row
from bench.harness.timing import Sample, Spread, spread, walls
from components.base.errors import UserError

BEGIN = "<!-- made by `python -m bench --table`: begin -->"
END = "<!-- made by `python -m bench --table`: end -->"


def listed(benchmarks: dict[str, Benchmark]) -> Table:
    """Lists the benchmarks."""
    table = Table("name", "", "measures", box=None, pad_edge=False)
    for column in ("clips", "repeats", "minutes"):
        table.add_column(column, justify="right")
    for name, each in benchmarks.items():
        star = "*" if each.by_name_only else ""
        table.add_row(name, star, each.about, str(each.clips), str(each.repeats), f"{each.minutes:g}")
    return table


def show(result: Result, console: Console) -> None:
    """Prints one result."""
    table = Table("side", box=None, pad_edge=False)
    for column in _SIDE_COLUMNS[1:]:
        table.add_column(column, justify="right")
    for name, samples in result.sides.items():
        table.add_row(*_side(name, samples))
    console.print(table)
    for row in result.rows:
        style = {True: "green", False: "bold red", None: ""}[row.met]
        console.print(f"{row.what}: {_figure(row)}; {_asked(row)}", style=style, markup=False, soft_wrap=True)
    for note in result.notes:
        console.print(note, style="dim", markup=False, soft_wrap=True)


def markdown(results: Iterable[Result]) -> str:
    """Writes all results as Markdown: first the figures with their targets, then the times and memory of every side."""
    results = list(results)
    lines = []
    for result in results:
        line = _measured_on(result)
        if line not in lines:
            lines.append(line)
    parts = ["\n".join(lines)]
    parts.append(
        _grid(
            ("benchmark", "what", "median (lowest to highest)", "target", ""),
            (
                (result.name, row.what, _figure(row), _bound(row), _OUTCOMES[row.met])
                for result in results
                for row in result.rows
            ),
        )
    )
    for result in results:
        parts.append(
            f"**{result.name}**: {result.about}; {result.clips} clips of {result.seconds:g} s, "
            f"{result.repeats} {'repeats' if result.repeats > 1 else 'repeat'}, {result.date}, commit {result.commit}"
        )
        parts.append(_grid(_SIDE_COLUMNS, (_side(name, samples) for name, samples in result.sides.items())))
        if result.notes:
            parts.append("\n".join(f"- {note}" for note in result.notes))
        if result.name == "scale":
            parts.extend(_cost_model(step_costs(result), result.machine.cores))
    return "\n\n".join(parts) + "\n"


def write_into(file: Path, text: str) -> None:
    """Replaces the text between the two markers in `file`; makes the file if it is missing.

    Raises:
      UserError: the file exists without the markers.
    """
    block = f"{BEGIN}\n{text}{END}\n"
    if file.exists():
        old = file.read_text(encoding="utf-8")
        before, begin, rest = old.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise UserError(
                f"{file}: no place for the table. Put these two lines where the table belongs:\n{BEGIN}\n{END}"
            )
        block = before + block.removesuffix("\n") + after
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(block, encoding="utf-8")


_LIBRARIES = (
    ("FMA-small", 8_000, 2),
    ("FMA-full", 106_574, 16),
    ("10 million", 10_000_000, 500),
    ("100 million", 100_000_000, 5_000),
)
"""Name, clips, and cores for the Beam steps, so many that none takes more than a day."""
_HOUR = 3600.0


def _cost_model(costs: dict[str, StepCost], cores: int) -> list[str]:
    """Describes the costs of a clip at every step, and those of whole libraries."""
    per_clip = _grid(
        ("step", "fixed, s", f"ms per clip, {cores} cores", "core ms per clip", "kB written per clip", "peak memory"),
        (
            (
                step,
                f"{cost.fixed:.1f}",
                f"{1000 * cost.per_clip:.1f}",
                f"{1000 * cost.core_per_clip:.1f}",
                f"{cost.bytes_per_clip / 1000:,.0f}",
                f"{cost.peak_bytes / 2**20:,.0f} MiB",
            )
            for step, cost in costs.items()
        ),
    )
    shared = {step: cost for step, cost in costs.items() if step not in ONE_MACHINE}

    def row(name: str, clips: int, workers: int) -> tuple[str, ...]:
        hours = {step: cost.seconds_on(workers, clips) / _HOUR for step, cost in shared.items()}
        slowest = max(hours, key=lambda step: hours[step])
        core_hours = sum(cost.core_per_clip for cost in shared.values()) * clips / _HOUR
        written = sum(cost.bytes_per_clip for cost in shared.values()) * clips
        alone = sum(costs[step].seconds(clips) for step in ONE_MACHINE) / _HOUR
        return (
            f"{name}, {clips:,} clips",
            f"{workers:,}",
            _number(sum(hours.values())),
            f"{slowest}, {hours[slowest] / sum(hours.values()):.0%}",
            _number(core_hours),
            f"{_number(written / 1e9)} GB",
            _number(alone),
        )

    libraries = _grid(
        (
            "library",
            "cores",
            "hours, all Beam steps",
            "slowest",
            "core hours",
            "written",
            "hours of an epoch on this CPU",
        ),
        (row(*library) for library in _LIBRARIES),
    )
    return ["Cost model, from the smallest and the largest size:", per_clip, "Predictions:", libraries]


_OUTCOMES = {True: "met", False: "**missed**", None: ""}
_SIDE_COLUMNS = ("side", "seconds, median (lowest to highest)", "CPU seconds", "peak memory")


def _side(name: str, samples: Sequence[Sample]) -> tuple[str, ...]:
    peak = max(sample.peak_bytes for sample in samples)
    cpu = spread([sample.cpu for sample in samples]).median
    return name, _interval(spread(walls(samples))), _number(cpu), f"{peak / 2**20:,.0f} MiB" if peak else ""


def _figure(row: Row) -> str:
    return f"{_interval(row.measured)} {row.unit}"


def _interval(values: Spread) -> str:
    return f"{_number(values.median)} ({_number(values.low)} to {_number(values.high)})"


def _number(value: float) -> str:
    """Formats a number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _bound(row: Row) -> str:
    return f"{row.relation} {row.bound:g} {row.unit}" if row.relation else "stated"


def _asked(row: Row) -> str:
    if row.met is None:
        return "stated"
    return f"target {_bound(row)}: {'met' if row.met else 'missed'}"


def _measured_on(result: Result) -> str:
    machine = result.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"Measured on {machine.processor}, {machine.cores} cores, {machine.memory_gib:g} GiB, {machine.system}, "
        f"Python {machine.python}, {versions}."
    )


def _grid(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
