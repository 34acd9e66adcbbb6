"""What a run is to do, worked out from the configuration, the library and what is served.

A run on this machine knows it before its first node. Elsewhere the pipeline is compiled once and started many times,
so its first node, `pipeline.planning.planner.Planner`, works it out, and its answers are parameters of the other nodes.
Either way a node's parameters say all that its output depends on, which is what every cache goes by.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from etils import epath

from components.audio.config import FeatureConfig
from components.base.errors import UserError
from components.library.layout import SCHEMA_FILE, SPLITS, Manifest, SpanImport, span_dir
from components.retraining.history import gather_facts, read_history
from components.retraining.policy import Facts
from components.store.model_card import find_card
from components.store.model_store import (
    Lineage,
    best_on_golden,
    champion_of,
    current_version,
    read_lineage,
    version_dir,
    withdrawn_version,
)
from models.registry import kind_of, weights_digest
from pipeline.config.settings import PipelineConfig, Span, changed_config, config_digest
from pipeline.planning.source_digest import source_digest

if TYPE_CHECKING:
    from pipeline.planning.preflight import Preflight

Value = Any
"""Text, or a TFX placeholder for where a node will find it."""


_COMPILED = ("name", "data", "span", "window", "workspace", "beam", "kubeflow", "vertex")
"""Settings that `settings` cannot change: the pipeline was compiled with them, or they are run parameters."""


def parse_settings(text: str) -> list[str]:
    """The single settings, as `section.key=value`, of a text that has them divided by line ends or semicolons."""
    return [part.strip() for part in text.replace("\n", ";").split(";") if part.strip()]


def parse_span(text: str) -> Span:
    """The span that a run parameter names: a number, first or last.

    Raises:
      UserError: it is none of these.
    """
    if text in ("first", "last"):
        return text
    if not text.isdecimal():
        raise UserError(f"run parameter `span`: {text!r} is no span. Give its number, or first, or last.")
    return int(text)


def run_config(compiled: PipelineConfig, data: str, span: Span, settings: str) -> PipelineConfig:
    """The configuration of a run: that of the compiled pipeline with what the run parameters say.

    Raises:
      UserError: settings that are not known, not valid, or fixed in the compiled pipeline.
    """
    changed = changed_config(compiled, parse_settings(settings))
    fixed = [key for key in _COMPILED if getattr(changed, key) != getattr(compiled, key)]
    for section, key in (("tune", "enabled"), ("train", "warm_start")):
        if getattr(getattr(changed, section), key) != getattr(getattr(compiled, section), key):
            fixed.append(f"{section}.{key}")
    if fixed:
        raise UserError(
            f"run parameter `settings`: {', '.join(fixed)} cannot be changed by it. The parameters `data` and `span` "
            "say what to run on; for the rest, compile the pipeline again."
        )
    return changed.model_copy(update={"data": data, "span": span})


@dataclass(frozen=True)
class Plan:
    """Parameters of the nodes. All are text, because that is what nodes can tell each other on every target."""

    slots: tuple[Value, ...]
    """Per slot of the window, what is imported into it: a `SpanImport`, JSON."""
    held_out: Value
    """Clips that nobody trains on, a `SpanImport`, JSON; see `held_out_source`."""
    schema_file: Value
    schema_digest: Value
    """Of the schema's content."""
    on_anomaly: Value
    """See `DataGate`."""
    facts: Value
    """What the decision to retrain rests on, JSON."""
    retrain: Value
    """RetrainConfig, JSON."""
    drift: Value
    """DriftConfig, JSON."""
    drift_source: Value
    """Digest of the code, as all that end so."""
    policy_source: Value
    now: Value
    """When the plan was made, ISO 8601."""
    transform: Value
    """Custom configuration of Transform, JSON."""
    tuner: Value
    trainer: Value
    champion: Value
    """Version to compare with; 0 for none."""
    genres: Value
    """Class list, JSON."""
    newest: Value
    """The newest span."""
    golden: Value
    """The golden span; empty for none."""
    gate: Value
    """GateConfig, JSON."""
    best: Value
    """What an ancestor of the champion got right of the golden set, JSON; empty if none did better."""
    evaluator_source: Value
    reference_source: Value
    lineage: Value
    """Of the candidate, JSON."""
    keep_versions: Value
    """Number of versions in the model store."""
    config: Value
    """The whole configuration, JSON."""
    reporter_source: Value
    endpoint_source: Value


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def slot_sources(
    root: epath.Path, window: Sequence[Manifest], slots: Sequence[int | None], code: str
) -> list[SpanImport]:
    """What is imported into each slot; nothing into the empty ones."""
    by_span = {manifest.span: manifest for manifest in window}
    sources = []
    for span in slots:
        if span is None:
            source = SpanImport(span=None, splits={split: () for split in SPLITS}, digest=code)
        else:
            splits = {split: (str(span_dir(root, span) / split),) for split in SPLITS}
            manifest = by_span[span].digest
            source = SpanImport(span=span, splits=splits, digest=_digest(manifest, code), manifest=manifest)
        sources.append(source)
    return sources


def held_out_source(root: epath.Path, window: Sequence[Manifest], golden: Manifest | None, code: str) -> SpanImport:
    """What is imported to judge with.

    Its splits are `test` and `eval` of the newest span, `window`, which is both of the others, and `golden`, the test
    split of the golden span: without clips if that is the newest, or if there is none.
    """
    newest, others = window[-1], window[:-1]
    frozen = [golden] if golden is not None and golden.span != newest.span else []
    splits = {
        "test": (str(span_dir(root, newest.span) / "test"),),
        "eval": (str(span_dir(root, newest.span) / "eval"),),
        "window": tuple(str(span_dir(root, each.span) / split) for each in others for split in ("eval", "test")),
        "golden": tuple(str(span_dir(root, each.span) / "test") for each in frozen),
    }
    digest = _digest([(each.span, each.digest) for each in (*window, *frozen)], code)
    return SpanImport(span=newest.span, splits=splits, digest=digest)


def _candidate(store: epath.Path, candidate_of: Callable[[int | None], str]) -> tuple[str, int | None]:
    """The candidate, and the version that it is judged against.

    Args:
      candidate_of: the candidate's digest where training starts from this version. If the served version is the very
        candidate, it started from its parent.
    """
    served = current_version(store)
    lineage = read_lineage(store, served) if served is not None else None
    for parent in [lineage.parent] if lineage else []:
        candidate = candidate_of(parent)
        if champion_of(store, candidate) == parent:
            return candidate, parent
    candidate = candidate_of(served)
    return candidate, champion_of(store, candidate)


def _facts(inputs: "Preflight", candidate: str, parent: int | None, now: datetime, asked: bool) -> Facts:
    """What is known of the candidate before a clip is looked at."""
    store = inputs.workspace.models
    lineage = read_lineage(store, parent) if parent is not None else None
    card = find_card(version_dir(store, parent)) if parent is not None else None
    known = card.features.genres if card else inputs.library.genres
    return gather_facts(
        read_history(inputs.workspace.history),
        candidate,
        {manifest.span: manifest.splits["train"].clips for manifest in inputs.window},
        parent,
        lineage.window if lineage and lineage.data == str(inputs.data) else (),
        tuple(genre for genre in inputs.library.genres if genre not in known),
        withdrawn_version(store, candidate),
        now,
    ).model_copy(update={"asked": asked})


def make_plan(config: PipelineConfig, inputs: "Preflight", now: datetime, *, asked: bool) -> Plan:
    """What a run on `inputs` is to do now, if it is `asked` for, or if its policy lets it.

    Raises:
      UserError: the model store or the history cannot be read.
    """
    kind = kind_of(config.model)
    features = FeatureConfig(
        representation=kind.representation, genres=inputs.library.genres, audio=config.audio, mel=config.mel
    ).model_dump_json()
    transform = {
        "features": features,
        "source": source_digest("components.audio.preprocessing", "components.nodes.transform"),
    }
    learning = {
        "features": features,
        "model": config.model.model_dump_json(),
        "train": config.train.model_dump_json(),
    }
    training = {
        **learning,
        "weights": weights_digest(config.model),
        "source": source_digest("models.fitting.training", kind.module),
    }
    trainer = {**training, "checkpoints": str(inputs.workspace.checkpoints)}
    tuner: dict[str, Any] | None = None
    if config.tune.enabled:
        source = source_digest("models.fitting.tuning", kind.module)
        tuner = {**learning, "tune": config.tune.model_dump_json(), "source": source}

    data = [manifest.digest for manifest in inputs.window]
    start = {"warm_start": True} if config.train.warm_start else {}
    candidate, parent = _candidate(
        inputs.workspace.models,
        lambda served: _digest(data, transform, training, tuner, *([served] if start else [])),
    )
    span = inputs.manifest.span
    golden = inputs.golden.span if inputs.golden else None
    lineage = Lineage(
        candidate=candidate,
        parent=parent,
        data=str(inputs.data),
        span=span,
        window=tuple(manifest.span for manifest in inputs.window),
        golden=golden,
        code=_digest(transform["source"], trainer["source"]),
        config=config_digest(config),
    )
    best = best_on_golden(inputs.workspace.models, parent)
    schema = inputs.data / SCHEMA_FILE
    importing = source_digest("components.nodes.example_gen")
    return Plan(
        slots=tuple(
            source.model_dump_json() for source in slot_sources(inputs.data, inputs.window, inputs.slots, importing)
        ),
        held_out=held_out_source(inputs.data, inputs.window, inputs.golden, importing).model_dump_json(),
        schema_file=str(schema),
        schema_digest=hashlib.sha256(schema.read_bytes()).hexdigest()[:16],
        on_anomaly=config.validation.on_anomaly,
        facts=_facts(inputs, candidate, parent, now, asked).model_dump_json(),
        retrain=config.retrain.model_dump_json(),
        drift=config.drift.model_dump_json(),
        drift_source=source_digest("components.nodes.drift_detector"),
        policy_source=source_digest("components.nodes.retrain_policy"),
        now=now.isoformat(timespec="seconds"),
        transform=json.dumps(transform),
        tuner=json.dumps(tuner),
        trainer=json.dumps(trainer),
        champion=str(parent or 0),
        genres=json.dumps(inputs.library.genres),
        newest=str(span),
        golden="" if golden is None else str(golden),
        gate=config.gate.model_dump_json(),
        best=best.model_dump_json() if best else "",
        evaluator_source=source_digest("components.nodes.evaluator"),
        reference_source=source_digest("components.nodes.reference_profile"),
        lineage=lineage.model_dump_json(),
        keep_versions=str(config.deploy.keep_versions),
        config=config.model_dump_json(),
        reporter_source=source_digest("components.nodes.reporter"),
        endpoint_source=source_digest("components.nodes.endpoint_pusher"),
    )
