"""What can be found wrong with a run before TensorFlow is loaded."""

from dataclasses import dataclass

from etils import epath

from components.errors import UserError
from components.evaluation import require_known_genres
from components.library import SCHEMA_FILE, SPLITS, Library, Manifest, complete_spans, read_library, read_manifest
from models import registry
from pipeline.config import PipelineConfig
from pipeline.workspace import Workspace, root_path


@dataclass(frozen=True)
class Preflight:
    """The inputs of a run, checked."""

    library: Library
    manifest: Manifest
    data: epath.Path
    workspace: Workspace


def check_model(config: PipelineConfig) -> None:
    """Checks what can be said of the model without the data.

    Raises:
      UserError: an unknown model, settings that it does not take, or a search that makes no sense for it.
    """
    registry.load(config.model)
    if config.tune.enabled and registry.kind_of(config.model).family != "network":
        raise UserError(
            f"tune.enabled: {config.model.kind} is not trained from nothing, and needs no search. "
            "Set tune.enabled to false, or model.kind to a network."
        )


def check(config: PipelineConfig) -> Preflight:
    """Reads the library and checks that the configuration fits it.

    Raises:
      UserError: missing or empty data, one genre only, an empty split, other audio settings than the data's, or an
        unknown model or genre.
    """
    check_model(config)
    data = root_path(config.data)
    library = read_library(data)
    if not (data / SCHEMA_FILE).is_file():
        raise UserError(f"{data}: its {SCHEMA_FILE} is missing. Put it back, or ingest into another data directory.")
    spans = complete_spans(data)
    if not spans:
        raise UserError(f"{data}: no complete span. Ingest a library into it: `genre ingest folder DIR --data {data}`.")
    manifest = read_manifest(data, spans[-1] if config.span is None else config.span)
    for key, ours in config.audio:
        theirs = getattr(library.audio, key)
        if ours != theirs:
            raise UserError(
                f"audio.{key} is {ours}, but {data} was ingested with {theirs}. "
                f"Set audio.{key} to {theirs}, or ingest into another data directory."
            )
    if len(library.genres) < 2:
        raise UserError(f"{data}: only one genre ({', '.join(library.genres)}); a classifier needs two or more")
    for split in SPLITS:
        if split not in manifest.splits or not manifest.splits[split].clips:
            raise UserError(
                f"{data}: span {manifest.span} has no examples in its {split} split. Ingest more songs, from more "
                "artists, or give the split yourself with `genre ingest csv --split-column`."
            )
    require_known_genres(config.gate, library.genres)
    return Preflight(library, manifest, data, Workspace(root_path(config.workspace)))
