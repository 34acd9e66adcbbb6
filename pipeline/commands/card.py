"""`genre card`: shows the card of a version, for those who use it."""

from pathlib import Path

import click

from pipeline.commands import options
from pipeline.output import echo


@click.command()
@click.argument("version", type=click.IntRange(min=1), required=False)
@options.configuration
@options.workspace
@click.option("--open", "in_browser", is_flag=True, help="Open the card's page in a browser, and print its path.")
def card(
    version: int | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    workspace: Path | None,
    in_browser: bool,
) -> None:
    """Print the card of a VERSION as Markdown, in Hugging Face's format; without VERSION, of the served one.

    It says what the model is for and not for, what it learned from, how good it is and where it is weak.
    """
    import webbrowser

    from components.base.errors import UserError
    from components.store.checksums import require_sound
    from components.store.model_store import current_version, version_dir, versions
    from components.store.saved_model import SavedModel
    from pipeline.workspace import nothing_there

    place = options.configured(config_file, overrides, workspace=workspace)[1]
    chosen = version if version is not None else current_version(place.models)
    if chosen is None:
        raise nothing_there(place)
    directory = version_dir(place.models, chosen)
    if chosen not in versions(place.models):
        raise UserError(f"{place.models}: there is no version {chosen}. `genre models` lists those that there are.")
    files = SavedModel(directory)
    if not files.document.exists():
        raise UserError(
            f"{directory}: it has no card, because an earlier version of this project pushed it. The next model that "
            "is pushed has one."
        )
    require_sound(directory, files.document)
    if in_browser:
        echo(str(files.document_page))
        webbrowser.open(Path(files.document_page).as_uri())
    else:
        click.echo(files.document.read_text(), nl=False)
