"""`genre compare`: fits every kind of model on the same clips."""

import os
from pathlib import Path

import click

from components.base.errors import UserError
from pipeline.commands import options
from pipeline.comparing.models import models_to_compare
from pipeline.output import quiet


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
    output: Path | None,
    as_json: bool,
) -> None:
    """Fit every kind of model on the same clips, and test which differences are significant.

    Prints a table, and writes it as comparison.html, .md, .csv and .json. Results are kept: a comparison that was
    stopped goes on where it was. A kind that cannot be fitted, such as one without its pretrained weights, is left out
    and named.
    """
    from pipeline.config.settings import load_config
    from pipeline.planning.preflight import check, check_machine
    from pipeline.process import large_imports, output_to

    config = load_config(config_file, options.with_paths(overrides, data=data, workspace=workspace))
    check_machine(config)
    inputs = check(config, leave_out=False)
    manifest = next((each for each in reversed(inputs.window) if not each.small), None)
    if manifest is None:
        raise UserError(
            f"{inputs.data}: no span of the window has clips in all splits. Choose one that has, with `span`."
        )
    models = models_to_compare(config, inputs.library, kinds)
    kept = inputs.workspace.local / "compare"
    directory = output or kept
    with inputs.workspace.locked(), output_to(directory / "compare.log") as console:

        def say(line: str) -> None:
            if not quiet():
                console.print(line, soft_wrap=True)

        if manifest is not inputs.manifest:
            say(f"span {inputs.manifest.span} lacks clips in a split: comparing on span {manifest.span}")
        say("loading TensorFlow")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with large_imports():
            from rich import progress

            from components.reporting.comparison import show, write
            from pipeline.comparing.compare import compare_models

        comparison = compare_models(
            config,
            Path(inputs.data),
            manifest,
            models,
            folds,
            kept / "kept",
            say,
            lambda items, title, count: progress.track(
                items, title, count, console=console, transient=True, disable=quiet()
            ),
        )
        if comparison.rows:
            write(comparison, directory)
            if as_json:
                console.file.write(comparison.model_dump_json(indent=2) + "\n")
            else:
                show(comparison, console)
                console.print(f"\nwritten to {directory}/comparison.html, .md, .csv and .json", soft_wrap=True)
    if not comparison.rows or (kinds and comparison.left_out):
        raise UserError("\n".join(f"{kind} was left out: {why}" for kind, why in comparison.left_out.items()))
