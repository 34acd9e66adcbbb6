"""`python -m bench`: measures this pipeline against what a user would pick instead."""

import time
from pathlib import Path

import click

from pipeline.cli import run_command

_DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--list", "listing", is_flag=True, help="Say what there is to measure, and measure nothing.")
@click.option("--clips", type=click.IntRange(min=12), help="Songs to measure with; else, as many as --list says.")
@click.option("--repeats", type=click.IntRange(min=1), help="How often each side is measured; else, as --list says.")
@click.option("--seconds", type=click.FloatRange(min=2.0), default=30.0, show_default=True, help="Length of a song.")
@click.option(
    "--scratch",
    type=_DIRECTORY,
    default=Path("workspace/bench/scratch"),
    show_default=True,
    help="Where the songs are kept, and all else while it is needed: up to 20 GB.",
)
@click.option(
    "--results",
    type=_DIRECTORY,
    default=Path("workspace/bench/results"),
    show_default=True,
    help="A JSON file per benchmark, written when it ends.",
)
@click.option(
    "--table",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Measure nothing, but put all results as a table into this Markdown file, between its two markers.",
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
    """Measure this pipeline against what a user would pick instead, on this machine.

    Without names, everything but what --list marks with *. The sides of a benchmark are measured in turn; medians,
    spread and what was asked are printed and kept.
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
        click.echo(
            f"{len(chosen)} benchmarks, about {minutes:.0f} minutes on two quiet cores. Each is kept when it ends."
        )
    for name in chosen:
        click.echo(f"\n{name}: {chosen[name].about}")
        start = time.monotonic()
        result = run(Request(name, clips, repeats, seconds, scratch.absolute()))
        write_result(results, result)
        show(result, console)
        click.echo(f"in {time.monotonic() - start:.0f} s; written to {results / name}.json")


if __name__ == "__main__":
    run_command(bench, "python -m bench")
