"""Prepares what `genre submit` and `genre schedule` start."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from components.base.errors import UserError, command_line

if TYPE_CHECKING:
    from pipeline.config.settings import PipelineConfig
    from pipeline.config.targets import Target
    from pipeline.remote.service import Start


def compiled(config: "PipelineConfig", target: "Target", *, smoke: bool = False) -> str:
    """Returns the compiled pipeline, or the one of the smoke test, as the text of a file.

    Raises:
      UserError: the configuration does not fit the target.
    """
    from pipeline.planning.preflight import check_model
    from pipeline.process import large_imports, output_to
    from pipeline.remote.checks import check_target, doubts

    for doubt in doubts(check_target(config, target)):
        print(f"genre: warning: {doubt}", file=sys.stderr, flush=True)
    check_model(config)
    with output_to(Path(os.devnull)):
        with large_imports():
            from pipeline.remote.compile import compile_remote, compile_setup_check

        return (compile_setup_check if smoke else compile_remote)(config, target)


def prepare(
    target: "Target",
    dry_run: bool,
    *,
    config_file: Path | None,
    overrides: tuple[str, ...],
    package: Path | None,
    data: str | None,
    span: str | None,
    run_settings: tuple[str, ...],
    smoke: bool = False,
) -> tuple["PipelineConfig", "Start"]:
    """Prepares a run: reads the package or compiles the pipeline, and fills in the run parameters.

    Everything is checked before the pipeline is compiled, which takes a while.

    Args:
      target: service that runs it.
      dry_run: whether nothing is to be sent; buckets are not checked then.
      config_file: see `load_config`.
      overrides: see `load_config`; with a package, settings that are not compiled in.
      package: file of a compiled pipeline; None: compile the configuration.
      data: run parameter; None: the compiled default.
      span: run parameter; None: the compiled default.
      run_settings: settings of the run parameter `settings`, each as `section.key=value`.
      smoke: whether to run the smoke test of the configuration instead; see `pipeline.remote.setup_check`.

    Returns:
      The configuration to connect with, and the run to start.

    Raises:
      UserError: something is wrong with the configuration, the package, the run parameters or the buckets.
    """
    from pipeline.config.settings import load_config
    from pipeline.planning.plan import parse_span, run_config
    from pipeline.planning.preflight import check_model
    from pipeline.remote.buckets import check_buckets
    from pipeline.remote.checks import check_target
    from pipeline.remote.package import Package, documents_of, read_package
    from pipeline.remote.service import Start, new_name

    read = None
    if package is None:
        config = load_config(config_file, overrides)
    elif config_file is not None:
        raise UserError(
            "--config: the package has its configuration in it. Leave out --config or --package; --set changes what "
            "is not compiled in."
        )
    else:
        read = read_package(_text(package, target), str(package), target)
        config = read.config_with(overrides, target)
    check_target(config, target)
    parameters = {"data": data, "span": span, "settings": "; ".join(run_settings) or None}
    given = {name: value for name, value in parameters.items() if value is not None}
    of_run = run_config(
        config,
        given.get("data", config.data),
        parse_span(given["span"]) if "span" in given else config.span,
        given.get("settings", ""),
    )
    check_target(of_run, target)
    check_model(of_run)
    if not dry_run:
        check_buckets(of_run, target)
    if smoke:
        check = Package(tuple(documents_of(compiled(of_run, target, smoke=True), "the smoke test")), of_run)
        return config, Start(new_name(f"{config.name}-smoke"), check, {})
    read = read or read_package(compiled(config, target), "the compiled pipeline", target)
    return config, Start(new_name(config.name), read, read.defaults | given)


def _text(file: Path, target: "Target") -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        create = command_line("genre", "compile", "--target", target, "-o", file)
        raise UserError(f"{file}: no such package. Create it: {create}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: this is no compiled pipeline: {error}") from error
