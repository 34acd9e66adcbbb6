"""The `genre` command. Commands import what is heavy in their own bodies, so that `--help` stays instant."""

import sys
from typing import NoReturn

import click

from components.base.errors import UserError, storage_remedy
from pipeline.commands.card import card
from pipeline.commands.classes import classes
from pipeline.commands.clean import clean
from pipeline.commands.compare import compare
from pipeline.commands.compile import compile_
from pipeline.commands.config import config
from pipeline.commands.demo_library import demo_library
from pipeline.commands.doctor import doctor
from pipeline.commands.history import history
from pipeline.commands.ingest import ingest
from pipeline.commands.labels import labels
from pipeline.commands.models import models, rollback
from pipeline.commands.open import open_
from pipeline.commands.predict import predict
from pipeline.commands.retrain import retrain
from pipeline.commands.run import run
from pipeline.commands.schedule import schedule
from pipeline.commands.spans import spans
from pipeline.commands.status import status
from pipeline.commands.submit import submit
from pipeline.commands.watch import watch
from pipeline.commands.weights import weights
from pipeline.commands.why import why
from pipeline.output import echo
from pipeline.process import direct_to_this_machine, end_now


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="genre-pipeline")
def cli() -> None:
    """Learn to name the genre of a song: from a folder of audio to a gated, deployed, retrained model."""


cli.add_command(card)
cli.add_command(classes)
cli.add_command(clean)
cli.add_command(compare)
cli.add_command(compile_)
cli.add_command(config)
cli.add_command(demo_library)
cli.add_command(doctor)
cli.add_command(history)
cli.add_command(ingest)
cli.add_command(labels)
cli.add_command(models)
cli.add_command(open_)
cli.add_command(predict)
cli.add_command(retrain)
cli.add_command(rollback)
cli.add_command(run)
cli.add_command(schedule)
cli.add_command(spans)
cli.add_command(status)
cli.add_command(submit)
cli.add_command(watch)
cli.add_command(weights)
cli.add_command(why)


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
    except OSError as error:
        if not (remedy := storage_remedy(error)):
            raise
        echo(f"{name}: {error.filename or 'the disk'}: {error.strerror or error}. {remedy}", err=True)
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
