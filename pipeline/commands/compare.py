"""`genre compare`: fits every kind of model on the same clips."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.base.errors import UserError
from pipeline.commands import options
from pipeline.comparing.models import models_to_compare
from pipeline.output import quiet

if TYPE_CHECKING:
    from models.config import ModelConfig


@click.command()
@options.configuration
@options.data
@options.workspace
@click.option("--models", "kinds", help="Kinds to compare, separated by commas: mel_cnn,svm_rbf. Without it, all.")
@click.option(
    "--folds",
    metavar="COLUMN",
    help="Column of tracks.csv to cross-validate over, such as fold. Without it, the library's split.",
)
@click.option(
    "--clips-per-genre",
    "counts",
    metavar="N,N,...",
    help="Learn from so many clips of each genre only, for a learning curve: 5,10,20. Without it, from all.",
)
@click.option(
    "--apply", is_flag=True, help="Write the best kind into the file of settings: --config, or the nearest genre.yaml."
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write to. Without it, WORKSPACE/compare.",
)
@options.as_json
def compare(
    config_file: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    workspace: Path | None,
    kinds: str | None,
    folds: str | None,
    counts: str | None,
    apply: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Fit every kind of model on the same clips, and test which differences are significant.

    Prints a table, and writes it as comparison.html, .md, .csv and .json. Results are kept: a comparison that was
    stopped goes on where it was. A kind that cannot be fitted, such as one without its pretrained weights, is left out
    and named.

    The best kind is that of the lowest log loss among those that no other is significantly better than.
    """
    from pipeline.config.settings import load_config
    from pipeline.planning.preflight import check, check_machine
    from pipeline.process import large_imports, output_to

    if apply and (config_file is None or counts):
        raise UserError(
            "--apply needs a file of settings, --config or a genre.yaml, and all clips: no --clips-per-genre"
        )
    limits = _numbers(counts) if counts else (None,)
    config = load_config(config_file, options.with_paths(overrides, data=data, workspace=workspace))
    check_machine(config)
    inputs = check(config, leave_out=False)
    models = models_to_compare(config, inputs.library, kinds)
    kept = inputs.workspace.local / "compare"
    directory = output or kept
    with inputs.workspace.locked(), output_to(directory / "compare.log") as console:

        def say(line: str) -> None:
            if not quiet():
                console.print(line, soft_wrap=True)

        say("loading TensorFlow")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with large_imports():
            from rich import progress

            from components.reporting.comparison import best, curves, markdown, show, write
            from pipeline.comparing.compare import compare_models

        found = {}
        for limit in limits:
            if limit:
                say(f"\n{limit} clips per genre")
            comparison = compare_models(
                config,
                Path(inputs.data),
                inputs.window,
                models,
                folds,
                limit,
                kept / "kept",
                say,
                lambda items, title, count: progress.track(
                    items, title, count, console=console, transient=True, disable=quiet()
                ),
            )
            if not comparison.rows:
                break
            place = directory / f"{limit}-clips-per-genre" if limit else directory
            write(comparison, place)
            if as_json:
                console.file.write(comparison.model_dump_json(indent=2) + "\n")
            else:
                show(comparison, console)
                say(f"\nwritten to {place}/comparison.html, .md, .csv and .json")
            if limit:
                found[limit] = comparison
        if found:
            table = markdown(curves(found), slice(1, None))
            (directory / "learning-curves.md").write_text(table, encoding="utf-8")
            if not as_json:
                console.print(f"\n{table}\nwritten to {directory}/learning-curves.md", soft_wrap=True)
        if apply and config_file and comparison.rows:
            row = best(comparison)
            _apply(config_file, models[row.kind][0])
            say(
                f"{config_file}: model.kind is {row.kind} now, of the lowest log loss ({row.metrics.log_loss:.3f}) "
                f"among the kinds that no other is significantly better than; {row.metrics.accuracy:.1%} right"
            )
    if not comparison.rows or (kinds and comparison.left_out):
        raise UserError("\n".join(f"{kind} was left out: {why}" for kind, why in comparison.left_out.items()))


def _numbers(counts: str) -> tuple[int, ...]:
    """Reads --clips-per-genre.

    Raises:
      UserError: it is no list of whole numbers of at least 2.
    """
    try:
        numbers = tuple(int(number) for number in counts.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 2:
        raise UserError(f"--clips-per-genre {counts}: give whole numbers of at least 2, such as 5,10,20")
    return numbers


def _apply(file: Path, model: "ModelConfig") -> None:
    """Writes a kind and its settings into a file of settings.

    Raises:
      UserError: the file cannot be changed.
    """
    from etils import epath

    from components.base.files import write_atomically
    from models.config import ModelConfig
    from pipeline.config.yaml_text import read_mapping, with_values

    there = read_mapping(file).get("model") or {}
    values: dict[str, Any] = {"kind": model.kind}
    if model.window_seconds != there.get("window_seconds", ModelConfig().window_seconds):
        values["window_seconds"] = model.window_seconds
    if model.options or there.get("options"):
        values["options"] = model.options
    try:
        write_atomically(epath.Path(file), with_values(file.read_bytes().decode(), "model", values))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not changed ({error}). Set model.kind to {model.kind} there.") from error
