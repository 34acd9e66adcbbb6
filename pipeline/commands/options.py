"""Options that several commands share."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.base.errors import UserError
from components.base.files import in_bucket
from components.base.text import is_text
from pipeline.output import QUIET, VERBOSE, note

if TYPE_CHECKING:
    from pipeline.config.settings import PipelineConfig
    from pipeline.workspace import Workspace

REFUSED = 3
"""Exit code of a run whose candidate the gate refused, if that is asked for; 1 is an error, and 2 a wrong option."""

_FILE = click.Path(dir_okay=False, path_type=Path)


class _Directory(click.Path):
    """A directory on this machine. A path would make a folder named `gs:` of a bucket."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if in_bucket(value):
            self.fail(f"{value} lies in a bucket: give it as --set {param and param.name}={value}", param, ctx)
        return super().convert(value, param, ctx)


_DIRECTORY = _Directory(file_okay=False, path_type=Path)


def _or_found(context: click.Context, _: click.Parameter, given: Path | None) -> Path | None:
    """Returns the file of settings: if none is given, the project's, which is named on standard error."""
    if given or context.resilient_parsing or context.params.get("package"):  # a package has its settings in it
        return given
    from pipeline.config.settings import find_project_file

    if found := find_project_file():
        note(f"settings: {found}")
    return found


config_file = click.option(
    "--config",
    "config_file",
    type=_FILE,
    callback=_or_found,
    help="YAML file of settings. Without it, the nearest genre.yaml: here or in a folder above.",
)
overrides = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting, as mel.n_mels=64."
)
data = click.option("--data", type=_DIRECTORY, help="Root of the ingested library; overrides the setting `data`.")
workspace = click.option(
    "--workspace",
    type=_DIRECTORY,
    help="Directory of all results; overrides $GENRE_WORKSPACE and the setting `workspace`.",
)
summary = click.option("--summary", type=_FILE, help="Write the run's summary here, as JSON.")
fail_if_refused = click.option(
    "--fail-if-refused", is_flag=True, help=f"Exit with {REFUSED} if the gate refuses the candidate."
)
target = click.option(
    "--target", type=click.Choice(["kubeflow", "vertex"]), required=True, help="Kubeflow Pipelines or Vertex AI."
)


def _keep(key: str) -> Callable[[click.Context, click.Parameter, bool], bool]:
    """Returns a callback that remembers a flag for the whole command, see `pipeline.output`."""

    def keep(context: click.Context, _: click.Parameter, given: bool) -> bool:
        context.meta[key] = given or context.meta.get(key, False)
        return given

    return keep


as_json = click.option(
    "--json", "as_json", is_flag=True, is_eager=True, callback=_keep(QUIET), help="Print JSON, and nothing else."
)


def add_verbosity(command: click.Command) -> None:
    """Adds --quiet and --verbose to a command, or to those in a group: how much is shown of what goes on."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            add_verbosity(each)
        return
    for name, short, key, meaning in (
        ("--quiet", "-q", QUIET, "Show results and errors only."),
        ("--verbose", "-v", VERBOSE, "Show what libraries print, too, on standard error."),
    ):
        command.params.append(
            click.Option(
                [name, short], is_flag=True, expose_value=False, is_eager=True, callback=_keep(key), help=meaning
            )
        )


def configuration(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --config and --set."""
    return config_file(overrides(command))


def started(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that name a pipeline to run elsewhere, and its data."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Print the request instead of sending it."),
        click.option(
            "--run-set",
            "run_settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="One setting of the run parameter `settings`, as train.epochs=5: it needs no compiling.",
        ),
        click.option("--span", metavar="N|first|last", help="Newest span to train on; last: at the time of the run."),
        click.option("--data", metavar="ROOT", help="Root of the ingested library to run on, as the steps see it."),
        click.option("--package", type=_FILE, help="Run what `genre compile` wrote here, instead of compiling."),
        configuration,
        target,
    ):
        command = option(command)
    return command


def with_paths(overrides: tuple[str, ...], **paths: Path | None) -> tuple[str, ...]:
    """Returns `overrides` with each given path as a setting of its own name.

    Raises:
      UserError: a path is not valid UTF-8.
    """
    return (*overrides, *(f"{key}={_as_yaml(key, path)}" for key, path in paths.items() if path is not None))


def _as_yaml(key: str, path: Path) -> str:
    """Returns a path as a scalar of YAML, with escapes for quotation marks, line ends and the like."""
    import yaml

    if not is_text(str(path)):
        raise UserError(f"--{key} {path}: its name is not valid UTF-8. Rename it, or choose another.")
    return yaml.safe_dump(str(path), default_style='"', width=math.inf).rstrip("\n")


def configured(
    config_file: Path | None, overrides: tuple[str, ...], **paths: Path | None
) -> "tuple[PipelineConfig, Workspace]":
    """Returns the configuration of the options, and its workspace."""
    from pipeline.config.settings import load_config
    from pipeline.workspace import Workspace, root_path

    config = load_config(config_file, with_paths(overrides, **paths))
    return config, Workspace(root_path(config.workspace))
