"""The `genre` command. Commands import what is heavy in their own bodies, so that `--help` stays instant."""

import importlib.util
import sys
from typing import NoReturn

import click

from components.base.errors import UserError, reason, storage_remedy
from components.store.export_formats import INSTALL, PACKAGES
from pipeline.commands.card import card
from pipeline.commands.classes import classes
from pipeline.commands.clean import clean
from pipeline.commands.compare import compare
from pipeline.commands.compile import compile_
from pipeline.commands.config import config
from pipeline.commands.demo_library import demo_library
from pipeline.commands.doctor import doctor
from pipeline.commands.embed import embed
from pipeline.commands.export import export
from pipeline.commands.history import history
from pipeline.commands.ingest import ingest
from pipeline.commands.labels import labels
from pipeline.commands.models import models, rollback
from pipeline.commands.open import open_
from pipeline.commands.options import add_verbosity
from pipeline.commands.predict import predict
from pipeline.commands.retrain import retrain
from pipeline.commands.run import run
from pipeline.commands.schedule import schedule
from pipeline.commands.serve import serve
from pipeline.commands.similar import similar
from pipeline.commands.spans import spans
from pipeline.commands.status import status
from pipeline.commands.submit import submit
from pipeline.commands.tag import tag
from pipeline.commands.tensorboard import tensorboard
from pipeline.commands.watch import watch
from pipeline.commands.weights import weights
from pipeline.commands.why import why
from pipeline.output import echo
from pipeline.process import direct_to_this_machine, end_now

_OURS = ("bench", "components", "genre", "models", "pipeline")

GROUPS: dict[str, dict[click.Command, str]] = {
    "Data": {
        demo_library: "genre demo-library ~/songs",
        ingest: "genre ingest folder ~/music",
        classes: "genre classes list",
        spans: "genre spans --json",
    },
    "Train": {
        run: "genre run --set model.kind=mel_cnn",
        retrain: "genre retrain --dry-run",
        compare: "genre compare --models mel_cnn,svm_rbf",
        weights: "genre weights musicnn yamnet",
        config: "genre config model train",
    },
    "Look": {
        models: "genre models",
        why: "genre why 2",
        card: "genre card 2",
        open_: "genre open",
        labels: "genre labels",
        history: "genre history --html history.html",
        tensorboard: "genre tensorboard --port 6006",
    },
    "Use": {
        predict: "genre predict ~/new/song.mp3",
        serve: "genre serve --port 8501",
        tag: "genre tag ~/new --min-confidence 0.8",
        embed: "genre embed ~/music",
        similar: "genre similar ~/new/song.mp3",
        export: "genre export --format onnx -o genre.onnx",
    },
    "Operate": {
        watch: "genre watch --interval 300",
        rollback: "genre rollback --reason 'confuses folk with pop'",
        clean: "genre clean --dry-run",
        doctor: "genre doctor",
    },
    "Deploy": {
        compile_: "genre compile --target kubeflow -o pipeline.yaml",
        submit: "genre submit --target vertex --dry-run",
        schedule: "genre schedule list --target kubeflow",
        status: "genre status --target kubeflow",
    },
}
"""The commands by what they are for, each with an example, which its help ends with."""


class _Grouped(click.Group):
    """Lists the commands under the names of their groups."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes a section for each group."""
        width = formatter.width - 6 - max(map(len, self.commands))
        for group, commands in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(each.name or "", each.get_short_help_str(width)) for each in commands])


def _grouped() -> click.Group:
    """Makes the command `genre` of GROUPS."""

    @click.group(cls=_Grouped, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
    @click.version_option(package_name="genre-pipeline")
    def genre() -> None:
        """Learn to name the genre of a song: from a folder of audio to a gated, deployed, retrained model."""

    for commands in GROUPS.values():
        for command, example in commands.items():
            command.epilog = f"Example: {example}"
            add_verbosity(command)
            genre.add_command(command)
    return genre


cli = _grouped()


def _what_lacks(error: ModuleNotFoundError) -> str:
    """Says how to install a package that is missing; empty if it is no package, but a fault of this program.

    What predicts and serves is always installed; what trains and exports are extras of setup.py.
    """
    missing, *parts = (error.name or "").split(".")
    while parts and (spec := importlib.util.find_spec(missing)) and spec.origin is None:  # a namespace, as `google` is
        missing += f".{parts.pop(0)}"
    if not missing or missing.partition(".")[0] in _OURS or importlib.util.find_spec(missing):
        return ""
    if missing in PACKAGES["onnx"]:
        remedy = f"Install what exports: `{INSTALL}` where the source is, or `make run` there"
    else:
        remedy = (
            "What predicts and serves is installed, and what trains is not. Its versions fit each other only as "
            "locked: where the source is, `make run`, or `pip install --no-deps --require-hashes -r requirements.lock`"
        )
    return f"this needs the Python package {missing}, which is not installed. {remedy}."


def run_command(command: click.Command, name: str) -> NoReturn:
    """Runs a command line and exits. A user's mistake ends in a message and exit code 1, without a traceback.

    Args:
      command: the command to run.
      name: the name that a person types to run it; it precedes every error.
    """
    try:
        with direct_to_this_machine():
            code = command(standalone_mode=False)  # of a context that was exited, click returns the code
        sys.exit(code if isinstance(code, int) else 0)
    except UserError as error:
        echo(f"{name}: {error}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if not (lack := _what_lacks(error)):
            raise
        echo(f"{name}: {lack}", err=True)
        sys.exit(1)
    except OSError as error:
        if not (remedy := storage_remedy(error)):
            raise
        echo(f"{name}: {error.filename or 'the disk'}: {reason(error)}. {remedy}", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        echo(f"{name}: interrupted", err=True)
        sys.stdout.flush()
        end_now(130)  # Beam's threads cannot be stopped: a regular exit would wait for them


def main() -> None:
    """Runs `genre`."""
    run_command(cli, "genre")
