"""`genre serve`: answers over HTTP with the served model, and shows a page to try it."""

import os
from pathlib import Path

import click

from components.base.errors import UserError
from pipeline.commands import options
from pipeline.output import verbose

_SIZE = click.FloatRange(min=0.0, min_open=True)


@click.command()
@options.configuration
@options.workspace
@click.option("--port", type=click.IntRange(0, 65535), default=8501, show_default=True, help="0: any that is free.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at: this machine only; 0.0.0.0: all of its networks, which needs --token or --no-auth.",
)
@click.option("--token", envvar="GENRE_TOKEN", help="What callers must show; better given as $GENRE_TOKEN.")
@click.option("--no-auth", is_flag=True, help="Let everybody use it who reaches it.")
@click.option(
    "--max-megabytes", type=click.FloatRange(min=0.001), default=64.0, show_default=True, help="Largest body."
)
@click.option("--max-minutes", type=click.FloatRange(min=0.01), default=60.0, show_default=True, help="Longest song.")
@click.option(
    "--max-requests",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Requests that may wait at a time.",
)
def serve(
    config_file: Path | None,
    overrides: tuple[str, ...],
    workspace: Path | None,
    port: int,
    host: str,
    token: str | None,
    no_auth: bool,
    max_megabytes: float,
    max_minutes: float,
    max_requests: int,
) -> None:
    """Show a page to drop songs on, and answer programs, until Ctrl-C or SIGTERM.

    The page is at the address that is printed. POST /predict takes any song that the ingest reads; /v1/models/genre is
    TensorFlow Serving's REST API; /openapi.json describes both. A push or a roll-back is live within seconds.
    """
    from components.store.model_store import current_version
    from pipeline.serving.limits import Limits
    from pipeline.serving.server import LOOPBACK, is_loopback, listening, run_server
    from pipeline.workspace import nothing_there

    place = options.configured(config_file, overrides, workspace=workspace)[1]
    if not (is_loopback(host) or token or no_auth):
        raise UserError(
            f"--host {host}: others could use this server. Give a --token that they must show, or $GENRE_TOKEN; or "
            "--no-auth, if everybody may who reaches it."
        )
    if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token != ""):
        raise UserError("--token: it must be visible ASCII characters, without spaces around it. Choose another.")
    if current_version(place.models) is None:
        raise nothing_there(place)
    if not verbose():
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported
    limits = Limits(megabytes=max_megabytes, minutes=max_minutes, requests=max_requests)
    opened = listening(host, port)
    known = not (token or no_auth)
    run_server(opened, place.models, limits, LOOPBACK | {host} if known else frozenset(), token or "")
