"""`genre ingest`: turns a library of songs into TFRecords."""

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.base.errors import UserError, reason
from components.base.files import in_bucket
from components.base.text import as_utf8
from components.library.sources.track import RARE_GENRE
from pipeline.commands import options
from pipeline.output import echo, quiet

if TYPE_CHECKING:
    from rich.console import Console

    from components.library.ingest import Ingested
    from components.library.sources.fma import Subset
    from components.library.sources.tags import Tagged
    from components.library.sources.track import Track

_PATH = click.Path(path_type=Path)
_CONSEQUENCES = {"train": "not learnt", "eval": "not validated", "test": "not tested"}
"""Of a genre without clips in a split."""
_LINE_SECONDS = 10.0
"""Between lines of progress where there is no terminal to show a bar on."""

_TEXTS = 4
"""Texts of tags that a genre is shown with, and of rare genres, at most."""
_NEARLY = 0.95
"""Share of a clip from which a song counts as long enough: encoders cut some hundredths of a second off."""


@click.group(invoke_without_command=True)
@click.option(
    "--corrections",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file of right genres (columns track_id, genre), which the page of `genre labels` saves: states the spans "
    "of these songs again, and keeps what they said before. Without a command.",
)
@options.data
@click.option("--config", "config_file", type=_PATH, help="YAML file of settings, for --corrections.")
@click.pass_context
def ingest(
    context: click.Context,
    corrections: Path | None,
    data: Path | None,
    config_file: Path | None,
) -> None:
    """Decode a library of songs into a new span of training data.

    Every song becomes one clip: mono, PCM16, of the rate and length in the settings audio.sample_rate and
    audio.clip_seconds. Of longer songs the middle is taken; shorter ones are padded, and models hear them repeated. A
    file that cannot be used is listed in the span's rejects.csv with the reason. An ingest that was killed continues
    when the same command is given again. The same input gives the same bytes.
    """
    if context.invoked_subcommand is not None:
        if corrections or data or config_file:
            raise click.UsageError("--corrections takes no command; give --data and --config after the command.")
    elif corrections is None:
        click.echo(context.get_help())
    else:
        _correct(corrections, data, config_file)


def _root(data: str) -> Path:
    """Returns the library that a command writes to.

    Raises:
      UserError: it lies in a bucket.
    """
    if in_bucket(data):
        raise UserError(
            f"data: {data} lies in a bucket, and songs are ingested on a disk. Give a directory with --data, and copy "
            "it to the bucket when the command has ended."
        )
    return Path(data)


def _correct(file: Path, data: Path | None, config_file: Path | None) -> None:
    from components.library.restating.corrections import read_corrections, restate
    from pipeline.config.settings import find_project_file, load_config
    from pipeline.process import output_to

    root = _root(load_config(config_file or find_project_file(), options.with_paths((), data=data)).data)
    found = read_corrections(file)
    with output_to(Path(os.devnull)):  # TensorFlow tells what it is
        restated = restate(root, found)
    for span, count in restated.items():
        echo(f"span {span}: {count} songs have another genre now; what it said before is in {root / '.restated'}")
    if not restated:
        echo("nothing to do: every song has the genre that it should have")


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --data, --span, --config and --set."""
    span = click.option("--span", type=click.IntRange(min=0), help="Number of the span; else, the one after the last.")
    return options.data(span(options.configuration(command)))


@ingest.command()
@click.argument("directory", metavar="DIR", type=_PATH)
@_common
def folder(directory: Path, **common: Any) -> None:
    """Ingest the songs DIR/<genre>/<song>, or DIR/<genre>/<artist>/.../<song>.

    An artist's songs all go to one split. A song outside of any artist's folder counts as an artist of its own. Files
    whose names are not those of audio files, hidden ones, and folders of systems are left out, and listed as such.
    """
    from components.library.sources.folder import read_folder

    _ingest(read_folder(directory), directory, f"folder {directory.resolve().name}", **common)


@ingest.command("csv")
@click.argument("file", metavar="FILE", type=_PATH)
@click.option("--audio-root", required=True, metavar="DIR", type=_PATH, help="Where the paths in FILE start.")
@click.option("--path-column", default="path", show_default=True, help="Column of the songs' paths.")
@click.option("--genre-column", default="genre", show_default=True, help="Column of their genres.")
@click.option("--group-column", help="Column of what must stay in one split, such as the artist; else, each song.")
@click.option("--split-column", help="Column that says train, eval (or validation) or test.")
@click.option("--fold-column", help="Column of a fold, for `genre compare --folds fold`.")
@click.option("--eval-fold", "eval_folds", multiple=True, help="Fold that is for evaluation; may be repeated.")
@click.option("--test-fold", "test_folds", multiple=True, help="Fold that is for the test; may be repeated.")
@_common
def from_csv(
    file: Path,
    audio_root: Path,
    path_column: str,
    genre_column: str,
    group_column: str | None,
    split_column: str | None,
    fold_column: str | None,
    eval_folds: tuple[str, ...],
    test_folds: tuple[str, ...],
    **common: Any,
) -> None:
    """Ingest the songs that a CSV file lists, one per row below a header; tabs separate the columns of a .tsv.

    The file is in UTF-8; rename songs whose names are not. Spaces around a genre, and invisible characters in it, do
    not count. Genres that differ in case or punctuation are different, with a warning.

    Without a column of splits and without held-out folds, the groups of each genre are divided in the shares of
    ingest.splits.
    """
    from components.library.sources.manifest_csv import Columns, read_csv

    columns = Columns(path_column, genre_column, group_column, split_column, fold_column, eval_folds, test_folds)
    if not (group_column or split_column or test_folds):
        echo(
            "no --group-column: every song counts as an artist of its own. If an artist has several, name the column "
            "of artists: else one voice can be in train and in test, and the accuracy looks better than it is.",
            err=True,
        )
    _ingest(read_csv(file, audio_root, columns), audio_root, f"csv {file.name}", **common)


@ingest.command()
@click.argument("directory", metavar="DIR", type=_PATH)
@click.option("--genres", "mapping", type=_PATH, help="YAML file of names for the texts of tags; see above.")
@click.option(
    "--min-songs", type=click.IntRange(min=1), default=10, show_default=True, help="Leave out genres with fewer songs."
)
@click.option("--dry-run", is_flag=True, help="Show what would be ingested, and write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_common
def tags(directory: Path, mapping: Path | None, min_songs: int, dry_run: bool, yes: bool, **common: Any) -> None:
    """Ingest the songs below DIR, wherever they lie, with genres and artists of their tags.

    Tags are ID3 (MP3, AIFF, WAV), Vorbis comments (FLAC, Ogg, Opus), and those of MP4, WMA and APE. An artist is that
    of the album, or else of the song, and all songs of an artist go to one split. Of several genres the first counts
    that the file of names has, or else the first.

    The file of names has a line for each text: `Hip Hop/Rap: Hip-Hop` gives it a name, and `Other: null` leaves its
    songs out. Case, spaces and punctuation of the tags do not count.

    What was found is shown before anything is decoded.
    """
    from rich.console import Console

    from components.library.layout import LIBRARY_FILE, read_library
    from pipeline.config.settings import load_config
    from pipeline.console import busy

    config = load_config(common["config_file"], options.with_paths(common["overrides"], data=common["data"]))
    root = _root(config.data)
    known = read_library(root).genres if (root / LIBRARY_FILE).is_file() else ()
    with busy(Console(stderr=True), f"reading the tags in {as_utf8(str(directory))}"):
        from components.library.sources.tags import GenreNames, read_tags

        found = read_tags(directory, GenreNames(_genre_names(mapping) if mapping else {}), min_songs, known)
    _preview(found)
    if dry_run:
        return
    if not yes:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UserError("nothing was written, as there is no terminal to ask on. Give --yes, or --dry-run.")
        click.confirm("Ingest these songs?", abort=True)
    _ingest(found.tracks, directory, f"tags {directory.resolve().name}", **common)


def _genre_names(file: Path) -> dict[str, str | None]:
    """Reads the names of genres by the texts of tags; None: it is not wanted."""
    from components.base.labels import checked_label
    from pipeline.config.yaml_text import read_mapping

    names = read_mapping(file)
    for text, name in names.items():
        if not isinstance(name, str | None) or name == "":
            raise UserError(
                f"{file}: {text}: {name!r} is no name for a genre. Put it in quotes; null leaves songs out."
            )
    return {text: name and checked_label(name, f"{file}: {text}", "Correct it.") for text, name in names.items()}


def _preview(found: "Tagged") -> None:
    """Shows how the songs of a folder would be sorted."""
    from pipeline.commands.tables import show_table

    def listed(texts: Counter[str]) -> str:
        first = sorted(texts, key=lambda text: (-texts[text], text))[:_TEXTS]
        shown = ", ".join(f"{text} {texts[text]}" for text in first)
        return f"{shown} and {len(texts) - _TEXTS} more" if len(texts) > _TEXTS else shown

    order = sorted(found.texts, key=lambda genre: (-found.texts[genre].total(), genre))
    rows = [(each, found.texts[each].total(), found.artists(each), listed(found.texts[each])) for each in order]
    show_table(["genre", "songs", "artists", "tags"], rows)
    problems = Counter(track.kind for track in found.tracks if track.problem)
    first = {track.kind: track for track in reversed(found.tracks)}
    if problems:
        echo("")
        show_table(
            ["not used", "files", "such as", "because"],
            [(kind, count, first[kind].path, first[kind].problem) for kind, count in problems.most_common()],
        )
    rare = Counter(track.genre for track in found.tracks if track.kind == RARE_GENRE)
    if rare:
        echo(f"\nrare genres, which --genres can give another's name: {listed(rare)}")
    echo("")


@ingest.command()
@click.option("--audio", required=True, metavar="DIR", type=_PATH, help="Holds 000/000002.mp3 and so on.")
@click.option("--metadata", required=True, metavar="DIR", type=_PATH, help="Holds tracks.csv of fma_metadata.zip.")
@click.option("--subset", default="small", show_default=True, type=click.Choice(["small", "medium", "large"]))
@_common
def fma(audio: Path, metadata: Path, subset: "Subset", **common: Any) -> None:
    """Ingest FMA, the Free Music Archive data set, with its top genres, artists and official split.

    A subset contains the smaller ones. Half of the tracks of `large` have no top genre, and are rejected for it: allow
    that with --set ingest.max_reject_share=0.6.
    """
    from components.library.sources.fma import read_fma

    _ingest(read_fma(audio, metadata, subset), audio, f"fma {subset}", **common)


@ingest.command()
@click.option("--span", type=click.IntRange(min=0), help="Number of the span; else, all that there are.")
@options.data
@options.configuration
def verify(span: int | None, data: Path | None, config_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Compare the files of spans with the hashes in their manifests.

    Names every file that is damaged, missing, or in a span without belonging there; the exit code is 1 if there is any.
    """
    from components.library.layout import read_library, span_numbers
    from components.library.layout import verify as verify_span
    from pipeline.config.settings import load_config
    from pipeline.workspace import root_path

    root = root_path(load_config(config_file, options.with_paths(overrides, data=data)).data)
    read_library(root)
    wrong = []
    for number in span_numbers(root) if span is None else [span]:
        try:
            problems = verify_span(root, number)
        except UserError as error:
            if span is not None:
                raise
            problems = [str(error)]  # the other spans are checked all the same
        echo("\n".join(problems) or f"span {number}: as it was written")
        wrong += [number] * bool(problems)
    if wrong:
        raise UserError(
            f"{root}: not as written: span {', '.join(map(str, wrong))}. Put the files back from a copy; or move the "
            "span's directory away, and ingest the same songs with --span again."
        )


def _ingest(
    tracks: "Sequence[Track]",
    audio_root: Path,
    data_set: str,
    data: Path | None,
    span: int | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
) -> None:
    from components.beam.options import beam_args, check_local
    from pipeline.config.settings import load_config
    from pipeline.console import busy
    from pipeline.process import end_now, large_imports, output_to

    config = load_config(config_file, options.with_paths(overrides, data=data))
    check_local(config.beam)
    root = _root(config.data)
    try:
        with output_to(root / "ingest.log") as console:
            _warn_of_lookalikes(console, tracks)
            with busy(console, "loading Beam"), large_imports():
                from components.library.ingest import ingest
            with _progress(console) as report:
                args = beam_args(config.beam)
                result = ingest(
                    tracks, audio_root, as_utf8(data_set), root, config.audio, config.ingest, span, args, report
                )
            _show(console, result, config.audio.clip_seconds)
    except KeyboardInterrupt:
        # Beam's threads cannot be stopped: a regular exit would wait for them, or abort in C++.
        echo("\ngenre: interrupted; the same command continues from here", err=True)
        end_now(130)
    except BrokenPipeError:  # as by `| head`: there is no reader for a message
        end_now(1)
    except OSError as error:
        raise UserError(f"{error.filename or root}: {reason(error)}") from error


@contextmanager
def _progress(console: "Console") -> "Iterator[Callable[[int, int], None]]":
    """Shows files done, rate and time left: as a bar on a terminal, elsewhere as a line every 10 s."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("decoding"), BarColumn(), MofNCompleteColumn(), TextColumn("files {task.fields[pace]}"))
    with Progress(
        *columns,
        console=console,
        disable=quiet() or not console.is_interactive,
        transient=True,
        redirect_stdout=False,  # to the terminal: it goes to the log
        redirect_stderr=False,
    ) as bar:
        task = bar.add_task("", total=None, pace="")
        start = time.monotonic()
        due = start + _LINE_SECONDS
        found: int | None = None  # files that were done before this ingest began; they do not count for its pace

        def report(done: int, total: int) -> None:
            nonlocal due, found
            now = time.monotonic()
            found = done if found is None else found
            pace = _pace(done - found, total - found, now - start)
            bar.update(task, completed=done, total=total, pace=pace)
            if not (quiet() or console.is_interactive) and (now >= due or done == total) and due < math.inf:
                due = math.inf if done == total else now + _LINE_SECONDS
                console.print(f"decoding: {done} of {total} files{pace and ', '}{pace}")

        yield report


def _pace(done: int, total: int, seconds: float) -> str:
    if not done:
        return ""
    if done == total:
        return f"in {seconds:.0f} s"
    left = round((total - done) * seconds / done)
    return f"{done / seconds:.1f}/s, {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"


def _warn_of_lookalikes(console: "Console", tracks: "Sequence[Track]") -> None:
    """Warns of genres that may be one, under several names."""
    from components.base.labels import lookalikes

    counts = Counter(track.genre for track in tracks if track.genre and not track.problem)
    for names in lookalikes(counts):
        listed = ", ".join(f"{name!r} ({counts[name]} files)" for name in names)
        _warn(console, f"genres that differ only in case, spaces or punctuation: {listed}. Give one genre one name")


def _warn(console: "Console", text: str) -> None:
    console.print("warning: ", style="yellow", end="")
    console.print(text, soft_wrap=True)


def _show(console: "Console", result: "Ingested", clip_seconds: float) -> None:
    """Prints the result of an ingest for a person."""
    from rich.table import Table

    from components.library.repeats.duplicates import NEAR_DUPLICATE

    manifest = result.manifest
    if result.existed:
        console.print(f"already ingested as span {manifest.span}, nothing to do")
    for genre, count in result.now_known.items():
        _warn(
            console,
            f"{count} files of genre {genre!r} were rejected then; it is known now: without --span, they become "
            "another span",
        )
    if result.resumed:
        console.print(f"resumed: {result.resumed} of {result.shards} shards were there")
    clips = sum(split.clips for split in manifest.splits.values())
    console.print(f"{manifest.source}: {clips} of {manifest.input_files} files are examples of span {manifest.span}\n")
    table = Table("split", box=None, pad_edge=False)
    for column in ("clips", "groups", "genres"):
        table.add_column(column, justify="right")
    for name, split in manifest.splits.items():
        table.add_row(name, str(split.clips), str(split.groups), str(len(split.genres)))
    console.print(table)
    if manifest.rejects:
        rejects = Table("rejected", box=None, pad_edge=False)
        rejects.add_column("files", justify="right")
        for kind, count in manifest.rejects.items():
            rejects.add_row(kind, str(count))
        console.print()
        console.print(rejects)
        console.print(f"each with its reason in {result.directory / 'rejects.csv'}", soft_wrap=True)
    if manifest.left_out:
        counts = ", ".join(f"{count} {kind}" for kind, count in manifest.left_out.items())
        console.print(f"left out: {counts}; each is in {result.directory / 'left-out.csv'}", soft_wrap=True)
    if pairs := result.near_duplicates:
        how = (
            "one of each was left out"
            if NEAR_DUPLICATE in manifest.rejects
            else ("one of each is left out with --set ingest.near_duplicates=reject")
        )
        listed = result.directory / "near-duplicates.csv"
        _warn(console, f"{pairs} pairs of songs sound the same in two splits, listed in {listed}; {how}")
    if empty := result.empty_splits:
        console.print(
            f"span {manifest.span} has no {' and no '.join(empty)} clips: a run trains and judges on it together with "
            "the span before it, and judges on the golden set",
            soft_wrap=True,
        )
    for name, genres in result.gaps().items():
        _warn(console, f"no {name} clip in any span, so {_CONSEQUENCES[name]}: {', '.join(genres)}")
    if words := _too_long_a_clip(result.durations(), clip_seconds):
        _warn(console, words)
    console.print(f"\nwritten to {result.directory}", soft_wrap=True)


def _too_long_a_clip(durations: Sequence[float], clip_seconds: float) -> str:
    """Says how many of the songs of `durations` (seconds, ascending) are shorter than a clip; empty if none is."""
    short = sum(seconds < _NEARLY * clip_seconds for seconds in durations)
    if not short:
        return ""
    fits = math.floor(10 * durations[len(durations) // 20]) / 10  # 95 % of the songs are at least as long
    words = f"{short} of {len(durations)} songs are shorter than a clip of {clip_seconds:g} s, and repeated to fill it."
    if not 0 < fits < clip_seconds:
        return words
    setting = f"--set audio.clip_seconds={fits:g}"
    return f"{words} A clip of {fits:g} s fits nearly all: ingest into another --data root with {setting}"
