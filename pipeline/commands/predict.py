"""`genre predict`: names the genre of any song with the served model, as a whole and over time."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.base.errors import UserError
from components.base.files import in_bucket
from components.base.text import as_utf8
from components.store.answers import LEAST_HOP, require_hop
from pipeline.commands import options
from pipeline.output import note, plain_console, quiet
from pipeline.process import large_imports, output_to

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.config.settings import PipelineConfig
    from pipeline.workspace import Workspace

_FORMATS = ("table", "json", "jsonl", "csv", "parquet", "audacity")
_TOP = {"table": 3, "audacity": 1}
"""Genres that are written if nobody says how many; in the other formats all."""
_WHOLE_CLIPS = (
    "Version {version} was pushed by an earlier release, which answered whole clips alone: its segments are clips. "
    "`genre run` trains one that answers windows."
)


@click.command()
@click.argument("paths", metavar="[FILE|DIR|-]...", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@options.configuration
@options.workspace
@click.option(
    "--files-from",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Take songs and folders from a file, or from standard input for -: a line for each, or NUL bytes between.",
)
@click.option("--segments", is_flag=True, help="Name the genres over time, too: of every window of the model.")
@click.option(
    "--hop",
    type=click.FloatRange(min=LEAST_HOP),
    metavar="SECONDS",
    help="At most so much time from one segment to the next, so that they overlap. Implies --segments.",
)
@click.option(
    "--top", type=click.IntRange(min=1), help="Most genres of each. Default: table 3, audacity 1, others all."
)
@click.option("--min-confidence", "least", type=click.FloatRange(0, 1), default=0.0, help="Least probability, 0 to 1.")
@click.option(
    "--format", "form", type=click.Choice(_FORMATS), default="table", show_default=True, help="Of the output."
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE|DIR",
    help="Write there instead of printing; label tracks of several songs become files in a folder.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted batch: leave out what is in the output.")
@click.option(
    "--beam",
    "on_beam",
    is_flag=True,
    help="Name any number of songs on the Beam runner of the settings, into Parquet files. Wants --input and -o DIR.",
)
@click.option(
    "--input",
    "pattern",
    metavar="PATTERN",
    help="With --beam: files or a folder, also in a bucket; ** goes into folders.",
)
@click.option("--embed", is_flag=True, help="With --beam: the embedding of each song, too.")
@click.option("--shards", type=click.IntRange(1, 99_999), help="With --beam: number of parts, 256 without it.")
@click.option(
    "--timeline",
    type=click.Path(path_type=Path),
    metavar="FILE.png|DIR",
    help="Draw the spectrogram of each song, and its genres over time beneath.",
)
def predict(
    paths: tuple[Path, ...],
    config_file: Path | None,
    overrides: tuple[str, ...],
    workspace: Path | None,
    files_from: Path | None,
    segments: bool,
    hop: float | None,
    top: int | None,
    least: float,
    form: str,
    as_json: bool,
    target: str | None,
    resume: bool,
    timeline: Path | None,
    on_beam: bool,
    pattern: str | None,
    embed: bool,
    shards: int | None,
) -> None:
    """Name the genre of songs, and of the songs in folders; - is one song on standard input.

    Any format that the ingest reads, of any length: a long song is cut into clips whose probabilities are averaged.
    A silent song has no genre. Hidden files and folders, and folders of systems, are left out of folders. The exit
    code is 1 if any file could not be read; the other songs are named all the same.

    \b
    genre predict song.mp3 --segments                # over time
    genre predict ~/music --format csv -o genres.csv --resume
    genre predict song.mp3 --format audacity -o labels.txt
    find . -name '*.opus' -print0 | genre predict --files-from -
    curl -s https://example.org/song.mp3 | genre predict -
    genre predict --beam --input 'gs://bucket/music/**' -o gs://bucket/genres
    """
    from components.store.model_store import current_version, version_dir
    from pipeline.predicting import earlier
    from pipeline.predicting.batch import Batch
    from pipeline.predicting.formats import Choice
    from pipeline.predicting.output import FileForEach, print_text, write_file
    from pipeline.predicting.songs import find_songs, read_list
    from pipeline.workspace import nothing_there

    if on_beam:
        if pattern is None or target is None:
            raise click.UsageError("--beam goes with --input PATTERN and -o DIR.")
        if paths or files_from or form != "table" or as_json or top or least or resume or timeline:
            raise click.UsageError("With --beam there are --input, -o, --segments, --hop, --embed and --shards alone.")
        config, place = options.configured(config_file, overrides, workspace=workspace)
        _predict_on_beam(config, place, pattern, target, segments, hop, embed, shards)
        return
    if pattern or embed or shards:
        raise click.UsageError("--input, --embed and --shards go with --beam.")
    form, out = "json" if as_json else form, Path(target) if target else None
    if not paths and files_from is None:
        raise click.UsageError("Name songs or folders, --files-from FILE, or - for a song on standard input.")
    if resume and (out is None or form not in earlier.RESUMABLE):
        raise click.UsageError(f"--resume goes with --format {' or '.join(earlier.RESUMABLE)}, and -o FILE.")
    if form == "parquet" and out is None:
        raise click.UsageError("--format parquet is not for a terminal: name a file with -o.")
    choice = Choice(top or _TOP.get(form), least, segments or hop is not None or form == "audacity")
    songs, left_out = find_songs([*paths, *(read_list(files_from) if files_from else [])])
    if form == "audacity" and len(songs) > 1 and out is None:
        raise click.UsageError("Each song gets a label track of its own: name a folder with -o.")
    pictures = FileForEach(timeline, ".png", songs) if timeline else None
    tracks = FileForEach(out, ".txt", songs) if out and form == "audacity" else None
    place = options.configured(config_file, overrides, workspace=workspace)[1]
    version = current_version(place.models)
    readable = any(not song.problem for song in songs)
    if readable and version is None:
        raise nothing_there(place)
    asked = earlier.asked_for(form, choice, hop, version)
    if resume and out:
        done = earlier.resume(out, choice, asked)
        songs = [song for song in songs if as_utf8(str(song.path)) not in done]
        note(f"{out}: {len(done)} songs are done; {len(songs)} are to do.")

    batch = Batch(songs, choice.segments, hop, pictures)
    with _consoles() as (console, errors):
        predictor = None
        if version is not None and any(not song.problem for song in songs):
            with large_imports():
                from components.store.predictor import Predictor

            predictor = Predictor(version_dir(place.models, version))
            if batch.segments and not predictor.answers_windows and not quiet():
                errors.print(_WHOLE_CLIPS.format(version=version), soft_wrap=True)
        with _progress(console, errors, len(songs), out is None, form) as advance:
            results = batch.results(predictor, version, advance)
            if out is None:
                print_text((result for _, result in results), form, choice, console)
            elif tracks:
                for song, result in results:
                    if result.answer:
                        write_file([result], form, choice, tracks.of(song))
            else:
                write_file((result for _, result in results), form, choice, out, asked, goes_on=resume)
    if left_out:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
        note(f"left out of folders: {listed}")
    if batch.failures:
        raise UserError("\n".join(batch.failures))


def _predict_on_beam(
    config: "PipelineConfig",
    place: "Workspace",
    pattern: str,
    output: str,
    segments: bool,
    hop: float | None,
    embed: bool,
    shards: int | None,
) -> None:
    from components.beam.options import beam_args, check_local
    from components.store.model_store import current_version, version_dir
    from pipeline.console import busy, showing
    from pipeline.workspace import nothing_there

    if hop is not None:
        require_hop(hop)
    version = current_version(place.models)
    if version is None:
        raise nothing_there(place)
    if not (in_bucket(pattern) or in_bucket(output)):
        check_local(config.beam)
    with _consoles() as (_, errors):
        with busy(errors, "loading Beam and TensorFlow"), large_imports():
            from pipeline.predicting.on_beam import SHARDS, Asked, name_songs
        asked = Asked(
            model=str(version_dir(place.models, version)),
            version=version,
            segments=segments or hop is not None,
            hop=hop,
            embed=embed,
            shards=shards or SHARDS,
        )
        with showing(errors, f"shards of {asked.shards}") as show:
            outcome = name_songs(pattern, output, asked, beam_args(config.beam), show)
    rejected = f"; {outcome.rejects:,} files are no songs, see rejects-*.parquet" if outcome.rejects else ""
    note(f"{outcome.songs:,} songs named in {output}: part-*.parquet{rejected}")


@contextmanager
def _consoles() -> "Iterator[tuple[Console, Console]]":
    """Sends what libraries print nowhere; yields consoles on standard output and on standard error."""
    with os.fdopen(os.dup(2), "w", encoding="utf-8") as errors, output_to(Path(os.devnull)) as console:
        yield console, plain_console(errors)


def _progress(
    console: "Console", errors: "Console", songs: int, printed: bool, form: str
) -> "AbstractContextManager[Callable[[], None]]":
    """Shows progress where it does not get between the lines of the output."""
    from pipeline.console import counting

    if songs < 2 or (printed and console.is_terminal and form != "table"):
        return nullcontext(lambda: None)
    return counting(console if printed and console.is_terminal else errors, "songs", songs)
