"""`python -m bench`: measures this pipeline against what a user would choose instead."""

import time
from pathlib import Path

import click

from pipeline.cli import run_command

_DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--list", "listing", is_flag=True, help="List the benchmarks, and measure nothing.")
@click.option(
    "--clips", type=click.IntRange(min=12), help="Number of songs to measure with. Without it, the number in --list."
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    help="Number of times that each side is measured. Without it, the number in --list.",
)
@click.option(
    "--seconds", type=click.FloatRange(min=2.0), default=30.0, show_default=True, help="Length of a song, in seconds."
)
@click.option(
    "--scratch",
    type=_DIRECTORY,
    default=Path("workspace/bench/scratch"),
    show_default=True,
    help="Directory of the songs, which are kept, and of temporary files: up to 20 GB.",
)
@click.option(
    "--results",
    type=_DIRECTORY,
    default=Path("workspace/bench/results"),
    show_default=True,
    help="Directory of the results: a JSON file per benchmark, written when it ends.",
)
@click.option(
    "--table",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Markdown file into which all results are written, between its two markers. Nothing is measured.",
)
def bench(
    names: tuple[str, ...],
    listing: bool,
    clips: int | None,
    repeats: int | None,
    seconds: float,
    scratch: Path,
    results: Path,
    table: Path | None,
) -> None:
    """Measure this pipeline against what a user would choose instead, on this machine.

    Without names, all benchmarks run, except those that --list marks with *. The sides of a benchmark are measured in
    turn. Medians, spread and targets are printed and kept.
    """
    from rich.console import Console

    from bench.harness.registry import BENCHMARKS, choose
    from bench.harness.table import listed, markdown, show, write_into

    console = Console(highlight=False)
    chosen = choose(names)
    if listing:
        console.print(listed(BENCHMARKS))
        return
    if table:
        from bench.harness.result import read_results

        found = read_results(results)
        write_into(table, markdown(found[name] for name in BENCHMARKS if name in found))
        click.echo(f"written into {table}")
        return

    from bench.harness.result import write_result
    from bench.harness.runner import Request, run

    minutes = sum(benchmark.minutes for benchmark in chosen.values())
    if clips is None and repeats is None:
        click.echo(f"{len(chosen)} benchmarks, about {minutes:.0f} minutes on two idle cores. Each result is kept.")
    for name in chosen:
        click.echo(f"\n{name}: {chosen[name].about}")
        start = time.monotonic()
        result = run(Request(name, clips, repeats, seconds, scratch.absolute()))
        write_result(results, result)
        show(result, console)
        click.echo(f"in {time.monotonic() - start:.0f} s; written to {results / name}.json")


if __name__ == "__main__":
    run_command(bench, "python -m bench")
