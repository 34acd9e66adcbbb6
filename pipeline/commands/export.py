"""`genre export`: a pushed model for other runtimes than TensorFlow."""

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.base.errors import UserError, reason
from components.store.export_formats import CLIPS, FILES
from pipeline.commands import options
from pipeline.output import echo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from components.audio.config import AudioConfig
    from components.store.export_formats import ExportFormat
    from pipeline.workspace import Workspace


@click.command()
@click.argument("songs", metavar="[SONG]...", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--format", "wanted", type=click.Choice(list(FILES)), required=True, help="Runtime that is to read it.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write."
)
@click.option("--version", type=click.IntRange(min=1), help="Version to export. Without it, the one that is served.")
@options.data
@options.configuration
@options.workspace
@options.as_json
def export(
    songs: tuple[Path, ...],
    wanted: "ExportFormat",
    output: Path,
    version: int | None,
    data: Path | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Write a version for ONNX Runtime, LiteRT (TensorFlow Lite) or Keras, features included.

    Its input is the clip itself, float32 samples [batch, samples] in [-1, 1], because these runtimes read no audio
    files; its outputs are those of the signature `waveform`. The file is written only if it answers SONGs, or else
    clips of the library's test split, as the version does, within 0.0001.
    """
    from etils import epath

    from components.store.checksums import require_sound
    from components.store.model_card import read_card
    from components.store.model_store import version_dir
    from pipeline.process import large_imports, output_to

    place = options.configured(config_file, overrides, data=data, workspace=workspace)[1]
    model = version_dir(place.models, _version(version, place))
    require_sound(model)
    audio = read_card(model).features.audio
    if songs:
        clips = _clips_of(songs, audio)
    else:
        from pipeline.config.settings import load_config

        clips = _test_clips(load_config(config_file, options.with_paths(overrides, data=data)).data, audio)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with output_to(Path(os.devnull)), large_imports():
        from components.exports.export import export as convert

        done = convert(model, wanted, epath.Path(output.absolute()), clips)
    if as_json:
        click.echo(json.dumps(done.account(), indent=2))
        return
    echo(
        f"written to {output}: {done.megabytes:.1f} MB; on {done.clips} real clips, no probability differs from the "
        f"version's by more than {max(done.difference, 1e-9):.1g}"
    )
    echo(f"input: float32 [batch, {done.clip_samples}], samples in [-1, 1] at {done.sample_rate} Hz")
    echo(f"genres, in the order of the probabilities: {', '.join(done.genres)}")
    if done.note:
        echo(done.note)


def _version(version: int | None, place: "Workspace") -> int:
    from components.store.model_store import current_version, versions
    from pipeline.workspace import nothing_there

    have = versions(place.models)
    chosen = current_version(place.models) if version is None else version
    if chosen is None:
        raise nothing_there(place)
    if chosen not in have:
        raise UserError(
            f"{place.models}: there is no version {chosen}; there are {', '.join(map(str, have)) or 'none'}."
        )
    return chosen


def _clips_of(songs: tuple[Path, ...], audio: "AudioConfig") -> "list[NDArray[np.int16]]":
    """Decodes the clips of songs that are not silent, at most CLIPS.

    Raises:
      UserError: a song does not decode, or all are silent.
    """
    from components.audio.decoding import AudioError, consecutive_clips

    def sound() -> "Iterator[NDArray[np.int16]]":
        for song in songs:
            try:
                yield from (clip.pcm for clip in consecutive_clips(song, audio) if not clip.silent)
            except (AudioError, OSError) as error:
                raise UserError(f"{song}: cannot be read: {reason(error)}. Name another song.") from error

    if clips := list(itertools.islice(sound(), CLIPS)):
        return clips
    raise UserError(f"{', '.join(map(str, songs))}: silent. Name a song with sound to compare the answers on.")


def _test_clips(library: str, audio: "AudioConfig") -> "list[NDArray[np.int16]]":
    """Reads the first clips of the test split of the newest span that has one, decoded as they are served.

    Raises:
      UserError: there is no library, or it has no test split.
    """
    from etils import epath

    from components.exports.clips import read_test_clips
    from pipeline.workspace import root_path

    root: epath.Path = root_path(library)
    if clips := read_test_clips(root, audio):
        return clips
    raise UserError(
        f"{root}: no clips of a test split to compare the answers on. Name songs after the options, or the library by "
        "--data."
    )
