"""`genre weights`: fetches the pretrained weights of a kind of model, and says what they are."""

import os

import click

from models.pretrained import WEIGHTS, cached
from pipeline.output import echo


@click.command()
@click.argument("kinds", nargs=-1, type=click.Choice(list(WEIGHTS)))
def weights(kinds: tuple[str, ...]) -> None:
    """Fetch pretrained weights into this user's cache. Without KINDS, list them and fetch nothing.

    A run never fetches anything: it uses what is in the cache, or the path in model.options.weights.
    """
    for kind in kinds or WEIGHTS:
        known, path = WEIGHTS[kind], cached(kind)
        echo(f"{kind}: {known.megabytes} MB from {known.source}")
        echo(f"  trained on {known.trained_on}; licence: {known.licence}")
        if not kinds:
            echo(f"  {'here: ' if path.exists() else 'not here; it would be '}{path}")
        elif path.exists():
            echo(f"  already here: {path}. Remove it to fetch it again.")
        else:
            echo("  fetching ...")
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            from models.pretrained import fetch

            fetch(kind)
            echo(f"  written to {path}")
    if kinds:
        echo("Runs of these kinds use them; so does `model.kind: auto`, the default, with musicnn and yamnet.")
