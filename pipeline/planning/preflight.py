"""The checks of a run that need no TensorFlow."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from etils import epath

from components.base.errors import UserError
from components.beam.options import check_local
from components.evaluation.gate import require_known_genres
from components.library.layout import (
    Library,
    Manifest,
    complete_spans,
    ingest_into,
    read_library,
    read_manifest,
    slots,
    small_spans,
    window_spans,
)
from components.library.left_out import set_aside_spans
from components.library.schema import check_schema
from components.retraining.policy import spans_in_words
from components.store.export_formats import INSTALL, PACKAGES
from components.store.model_store import current_version, read_lineage
from models import registry
from models.fitting.hosts import refuse_several_hosts
from pipeline.config.settings import PipelineConfig, Span
from pipeline.workspace import Workspace, root_path


@dataclass(frozen=True)
class Preflight:
    """The inputs of a run, checked."""

    library: Library
    window: tuple[Manifest, ...]
    """Manifests of the spans to train on, ascending."""
    slots: tuple[tuple[int, ...], ...]
    """The spans in each slot; see `components.library.layout.slots`."""
    tested: tuple[Manifest, ...]
    """Manifests of the spans whose test clips judge first: those in the slot of the newest, or else the golden one."""
    golden: Manifest | None
    """Manifest of the span with the golden test set."""
    data: epath.Path
    workspace: Workspace

    @property
    def manifest(self) -> Manifest:
        """The manifest of the newest span."""
        return self.window[-1]


def check_run(config: PipelineConfig) -> None:
    """Checks that this machine can run the nodes with the model of the configuration.

    Raises:
      UserError: see `check_machine`; or pretrained weights are not there, which the Trainer would find out last, or
        packages that `deploy.export` needs, which the push would.
    """
    check_machine(config)
    for wanted in config.deploy.export:
        if missing := [package for package in PACKAGES[wanted] if importlib.util.find_spec(package) is None]:
            raise UserError(
                f"deploy.export: {wanted} needs the Python packages {', '.join(missing)}, which are not installed. "
                f"Install them: `{INSTALL}` where the source is; or leave {wanted} out of deploy.export."
            )
    registry.require_weights(config.model)


def check_machine(config: PipelineConfig) -> None:
    """Checks that this machine can run the nodes: the runner of their Beam steps, and the Trainer.

    Raises:
      UserError: workers of Beam would not see the data, or the environment names several hosts to train on.
    """
    check_local(config.beam)
    refuse_several_hosts()


def check_model(config: PipelineConfig) -> None:
    """Checks the settings of the model, without the data.

    Raises:
      UserError: an unknown model, settings that it does not take, or a search, which it does not need.
    """
    registry.load(config.model)
    if config.tune.enabled and registry.kind_of(config.model).family != "network":
        raise UserError(
            f"tune.enabled: {config.model.kind} is not trained from nothing, and needs no search. "
            "Set tune.enabled to false, or model.kind to a network."
        )


def check(config: PipelineConfig, *, leave_out: bool) -> Preflight:
    """Reads the library and checks that the configuration fits it.

    Args:
      config: of the run.
      leave_out: whether to leave out spans that were set aside; see `components.library.set_aside`.

    Raises:
      UserError: missing or empty data, a span that has gone, one genre only, an empty split, other audio settings than
        the data's, or an unknown model or genre.
    """
    check_model(config)
    data = root_path(config.data)
    library = read_library(data)
    check_schema(data, library.genres)
    spans = complete_spans(data)
    workspace = Workspace(root_path(config.workspace))
    exclude = set(config.exclude)
    if leave_out:
        exclude |= {record.span for record in set_aside_spans(workspace.set_aside, data)}
    chosen = window_of(config, data, spans, exclude)
    window = tuple(read_manifest(data, span) for span in chosen)
    _require_kept(config, workspace, data, spans, exclude)
    golden = golden_manifest(config, data, spans)
    for key, ours in config.audio:
        theirs = getattr(library.audio, key)
        if ours != theirs:
            raise UserError(
                f"audio.{key} is {ours}, but {data} was ingested with {theirs}. "
                f"Set audio.{key} to {theirs}, or ingest into another data directory."
            )
    if len(library.genres) < 2:
        raise UserError(f"{data}: only one genre ({', '.join(library.genres)}); a classifier needs two or more")
    for split, use in (("train", "train on"), ("eval", "validate with")):
        if not any(each.has(split) for each in window):
            raise UserError(
                f"{data}: {spans_in_words(chosen)} of the window has no {split} clips to {use}. Ingest more songs, "
                "from more artists; or use earlier spans too, by exclude or `genre spans --restore`."
            )
    small = small_spans(data, spans)
    placed = slots(chosen, config.window, set(spans) - exclude, small)
    together = next(slot for slot in placed if chosen[-1] in slot)
    tested = tuple(each for each in window if each.span in together and each.has("test")) or (golden and (golden,))
    if not tested:
        raise UserError(
            f"{data}: {spans_in_words(together)} of the window has no test clips to judge by, and there is no golden "
            "set. Ingest more songs, from more artists; or set golden to a span with test clips."
        )
    require_known_genres(config.gate, library.genres)
    return Preflight(library, window, placed, tested, golden, data, workspace)


def _number(span: Span, spans: Sequence[int]) -> int:
    return span if isinstance(span, int) else spans[0 if span == "first" else -1]


def _require_kept(
    config: PipelineConfig, workspace: Workspace, data: epath.Path, spans: Sequence[int], exclude: set[int]
) -> None:
    """Checks that the spans are still there that the served version was made from and the run needs too."""
    served = current_version(workspace.models)
    lineage = read_lineage(workspace.models, served) if served is not None else None
    if lineage is None or lineage.data != str(data):
        return
    if config.golden == "first" and lineage.golden is not None and lineage.golden not in spans:
        raise UserError(
            f"{data}: span {lineage.golden} is gone. Its test split is the golden set that version {served} was judged "
            "on. Put it back, or set golden to the span that takes its place."
        )
    before = sorted({*spans, *lineage.window} - exclude)
    needed = window_spans(before, _number(config.span, before), config.window, small=small_spans(data, spans))
    gone = set(needed) - set(spans)
    if gone:
        raise UserError(
            f"{data}: {spans_in_words(tuple(sorted(gone)))} of the window is gone, which version {served} was trained "
            f"on. Put it back, or train without it: set exclude to {sorted(gone)}."
        )


def golden_manifest(config: PipelineConfig, data: epath.Path, spans: Sequence[int]) -> Manifest | None:
    """Returns the manifest of the span with the golden test set; it may be one that is not trained on.

    Raises:
      UserError: there is no such span, or it has no test clips.
    """
    if config.golden is None:
        return None
    if isinstance(config.golden, int):
        chosen = read_manifest(data, config.golden)
        if not chosen.has("test"):
            raise UserError(f"golden: span {config.golden} has no test clips. Choose a span that has some, or null.")
        return chosen
    tested = [each for each in (read_manifest(data, span) for span in spans) if each.has("test")]
    return tested[0 if config.golden == "first" else -1] if tested else None


def window_of(config: PipelineConfig, data: epath.Path, spans: Sequence[int], exclude: set[int]) -> tuple[int, ...]:
    """Returns the spans to train on, ascending.

    Args:
      config: of the run.
      data: root of the library.
      spans: the complete ones.
      exclude: spans that are not trained on.

    Raises:
      UserError: there are none, or the window cannot end at the configured span.
    """
    if not spans:
        raise UserError(f"{data}: no complete span. Ingest a library into it: {ingest_into(data)}.")
    usable = [span for span in spans if span not in exclude]
    if not usable:
        raise UserError(f"{data}: every complete span is excluded or set aside: {', '.join(map(str, spans))}.")
    end = _number(config.span, usable)
    if end in exclude - set(config.exclude):
        raise UserError(f"{data}: span {end} is set aside. `genre spans` shows the reason; or choose another span.")
    if end not in exclude:
        read_manifest(data, end)
    return window_spans(spans, end, config.window, exclude, small_spans(data, spans))
