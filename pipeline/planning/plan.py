"""The plan of a run: the parameters of every node, from the configuration, the library and the model store.

A run on this machine is planned before its first node. Elsewhere the pipeline is compiled once and started many times,
so its first node, `pipeline.planning.planner.Planner`, makes the plan, and gives each other node its parameters. Either
way a node's parameters hold all that its output depends on besides its inputs, which is what every cache goes by.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from etils import epath

from components.audio.config import FeatureConfig
from components.base.errors import UserError
from components.base.section import Section
from components.library.layout import SCHEMA_FILE, SPLITS, Manifest, span_dir
from components.library.span_import import GOLDEN, SpanImport
from components.nodes.parameters.champion import ChampionParameters
from components.nodes.parameters.data_gate import DataGateParameters
from components.nodes.parameters.drift_detector import DriftParameters
from components.nodes.parameters.endpoint_pusher import EndpointParameters
from components.nodes.parameters.evaluator import EvaluatorParameters
from components.nodes.parameters.example_gen import ImportParameters
from components.nodes.parameters.import_schema import ImportSchemaParameters
from components.nodes.parameters.pusher import PusherParameters
from components.nodes.parameters.recorder import RecorderParameters
from components.nodes.parameters.reference_profile import ReferenceParameters
from components.nodes.parameters.reporter import ReporterParameters
from components.nodes.parameters.retrain_policy import PolicyParameters
from components.nodes.parameters.transform import TransformParameters
from components.reporting.page import templates_digest
from components.retraining.history import gather_facts, read_history
from components.retraining.policy import Facts
from components.store.model_store import (
    Lineage,
    best_on_golden,
    champion_of,
    current_version,
    find_version_card,
    read_lineage,
    withdrawals,
    withdrawn_version,
)
from models.config import TrainerParameters
from models.fitting.tuning_config import TunerParameters
from models.registry import kind_of, modules, weights_digest
from pipeline.config.settings import PipelineConfig, Span, changed_config, config_digest
from pipeline.config.targets import vertex_api
from pipeline.planning.source_digest import node_digest

if TYPE_CHECKING:
    from pipeline.planning.preflight import Preflight

_COMPILED = ("name", "data", "span", "window", "workspace", "beam", "kubeflow", "vertex")
"""Settings that `settings` cannot change: the pipeline was compiled with them, or they are run parameters."""


def parse_settings(text: str) -> list[str]:
    """Divides a text at line ends and semicolons into settings, each as `section.key=value`."""
    return [part.strip() for part in text.replace("\n", ";").split(";") if part.strip()]


def parse_span(text: str) -> Span:
    """Reads the span that a run parameter names: a number, first or last.

    Raises:
      UserError: it is none of these.
    """
    ends: dict[str, Span] = {"first": "first", "last": "last"}
    if text in ends:
        return ends[text]
    if not text.isdecimal():
        raise UserError(f"run parameter `span`: {text!r} is no span. Give its number, or first, or last.")
    return int(text)


def run_config(compiled: PipelineConfig, data: str, span: Span, settings: str) -> PipelineConfig:
    """Returns the configuration of a run: that of the compiled pipeline, changed by the run parameters.

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
            "name the data of the run; to change the rest, compile the pipeline again."
        )
    return changed.model_copy(update={"data": data, "span": span})


class Plan(Section):
    """The parameters of every node of a run."""

    schema_gen: ImportSchemaParameters
    slots: tuple[ImportParameters, ...]
    """By slot of the window, the span in it."""
    held_out: ImportParameters
    """Clips that nobody trains on; see `held_out_clips`."""
    data_gate: DataGateParameters
    champion: ChampionParameters
    drift: DriftParameters
    policy: PolicyParameters
    transform: TransformParameters
    tuner: TunerParameters | None
    """Null: there is no Tuner."""
    trainer: TrainerParameters
    evaluator: EvaluatorParameters
    reference: ReferenceParameters
    pusher: PusherParameters
    endpoint: EndpointParameters | None
    """Null: no endpoint serves what is pushed."""
    recorder: RecorderParameters
    reporter: ReporterParameters

    @property
    def lineage(self) -> Lineage:
        """The origin of the candidate."""
        return self.pusher.lineage

    def texts(self) -> dict[str, str]:
        """Returns the parameters of every node by the name of its field, and by `slot_name`, as JSON; null as empty."""
        single = {name: getattr(self, name) for name in NAMES}
        slots = {slot_name(number): each for number, each in enumerate(self.slots)}
        return {name: each.model_dump_json() if each else "" for name, each in (single | slots).items()}


NAMES = tuple(name for name in Plan.model_fields if name != "slots")
"""Names of the texts of a plan, except those of the slots."""


def slot_name(number: int) -> str:
    """Names the text of a slot."""
    return f"slot_{number}"


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _directories(root: epath.Path, spans: Sequence[Manifest], split: str) -> tuple[str, ...]:
    """Returns the directories of the clips of a split; a span without such clips has none in a bucket."""
    return tuple(str(span_dir(root, each.span) / split) for each in spans if each.has(split))


def slot_clips(root: epath.Path, window: Sequence[Manifest], slots: Sequence[Sequence[int]]) -> list[SpanImport]:
    """Returns the clips to import into each slot; none into the empty ones."""
    by_span = {manifest.span: manifest for manifest in window}
    imports = []
    for slot in slots:
        spans = [by_span[span] for span in slot]
        digests = {each.span: each.digest for each in spans}
        newest = slot[-1] if slot else None
        digest = "" if newest is None else digests.pop(newest)
        imports.append(
            SpanImport(
                span=newest,
                splits={split: _directories(root, spans, split) for split in SPLITS},
                digest=_digest([(each.span, each.digest) for each in spans]) if digests else digest,
                manifest=digest,
                joined=digests,
            )
        )
    return imports


def held_out_clips(
    root: epath.Path, window: Sequence[Manifest], tested: Sequence[Manifest], golden: Manifest | None
) -> SpanImport:
    """Returns the clips to import for judging.

    Their splits are `test` and `eval` of the newest span; `joined`, the test clips of the other spans that are `tested`
    with it; `window`, the other clips of both kinds; and `golden`, the test split of the golden span: without clips if
    that alone is tested, or if there is none.
    """
    newest, others = window[-1], window[:-1]
    joined = [each for each in tested if each.span != newest.span]
    frozen = [golden] if golden is not None and [each.span for each in tested] != [golden.span] else []
    joined_clips = _directories(root, joined, "test")
    rest = (path for each in others for split in ("eval", "test") for path in _directories(root, [each], split))
    splits = {
        "test": _directories(root, [newest], "test"),
        "eval": _directories(root, [newest], "eval"),
        "joined": joined_clips,
        "window": tuple(path for path in rest if path not in joined_clips),
        GOLDEN: _directories(root, frozen, "test"),
    }
    digests = {each.span: each.digest for each in (*window, *tested, *frozen)}
    return SpanImport(span=newest.span, splits=splits, digest=_digest(list(digests.items())))


def _candidate(store: epath.Path, candidate_of: Callable[[int | None], str]) -> tuple[str, int | None]:
    """Finds the candidate, and the version that it is judged against.

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
    """Gathers what is known of the candidate before a clip is looked at."""
    store = inputs.workspace.models
    lineage = read_lineage(store, parent) if parent is not None else None
    card = find_version_card(store, parent) if parent is not None else None
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
    """Plans a run on `inputs`, which begins if it is `asked` for, or if its policy lets it.

    Raises:
      UserError: the model store or the history cannot be read.
    """
    kind = kind_of(config.model)
    features = FeatureConfig(
        representation=kind.representation, genres=inputs.library.genres, audio=config.audio, mel=config.mel
    )
    workspace, root = inputs.workspace, inputs.data
    store, history, set_aside = str(workspace.models), str(workspace.history), str(workspace.set_aside)
    transform = TransformParameters(features=features, code=node_digest("Transform"))
    trainer = TrainerParameters(
        features=features,
        model=config.model,
        train=config.train,
        weights=weights_digest(config.model),
        checkpoints=str(workspace.checkpoints),
        code=node_digest("Trainer", *modules(config.model)),
    )
    tuner = None
    if config.tune.enabled:
        code = node_digest("Tuner", kind.module)
        tuner = TunerParameters(features=features, model=config.model, train=config.train, tune=config.tune, code=code)

    determining = (
        [manifest.digest for manifest in inputs.window],
        transform.model_dump_json(),
        trainer.model_dump_json(exclude={"checkpoints"}),
        tuner and tuner.model_dump_json(),
    )
    candidate, parent = _candidate(
        workspace.models,
        lambda served: _digest(*determining, *([served] if config.train.warm_start else [])),
    )
    golden = inputs.golden.span if inputs.golden else None
    lineage = Lineage(
        candidate=candidate,
        parent=parent,
        data=str(root),
        span=inputs.manifest.span,
        window=tuple(manifest.span for manifest in inputs.window),
        golden=golden,
        code=_digest(transform.code, trainer.code),
        config=config_digest(config),
    )
    importing = node_digest("ImportExampleGen")

    def imported(clips: SpanImport) -> ImportParameters:
        return ImportParameters(clips=clips, set_aside=set_aside, code=importing)

    endpoint = None
    if config.vertex is not None and config.vertex.endpoint is not None:
        endpoint = EndpointParameters(
            model=config.name,
            endpoint=config.vertex.endpoint,
            project=config.vertex.project,
            region=config.vertex.region,
            api=vertex_api(config.vertex),
            encryption_key=config.vertex.encryption_key,
            code=node_digest("EndpointPusher"),
        )
    schema = root / SCHEMA_FILE
    moment = now.isoformat(timespec="seconds")
    return Plan(
        schema_gen=ImportSchemaParameters(
            file=str(schema), digest=hashlib.sha256(schema.read_bytes()).hexdigest()[:16]
        ),
        slots=tuple(imported(clips) for clips in slot_clips(root, inputs.window, inputs.slots)),
        held_out=imported(held_out_clips(root, inputs.window, inputs.tested, inputs.golden)),
        data_gate=DataGateParameters(on_anomaly=config.validation.on_anomaly),
        champion=ChampionParameters(store=store, version=parent),
        drift=DriftParameters(drift=config.drift, code=node_digest("DriftDetector")),
        policy=PolicyParameters(
            retrain=config.retrain,
            facts=_facts(inputs, candidate, parent, now, asked),
            data=str(root),
            history=history,
            now=moment,
        ),
        transform=transform,
        tuner=tuner,
        trainer=trainer,
        evaluator=EvaluatorParameters(
            genres=inputs.library.genres,
            gate=config.gate,
            span=inputs.manifest.span,
            tested=tuple(each.span for each in inputs.tested),
            golden_span=golden,
            best=best_on_golden(workspace.models, parent),
            code=node_digest("GateEvaluator"),
        ),
        reference=ReferenceParameters(code=node_digest("ReferenceProfile")),
        pusher=PusherParameters(
            store=store,
            lineage=lineage,
            name=config.name,
            keep_versions=config.deploy.keep_versions,
            export=config.deploy.export,
            lost=tuple(number for number, each in withdrawals(workspace.models).items() if each.damaged),
        ),
        endpoint=endpoint,
        recorder=RecorderParameters(candidate=candidate, history=history, now=moment),
        reporter=ReporterParameters(
            lineage=lineage,
            history=history,
            store=store,
            config=config.model_dump(mode="json"),
            code=_digest(node_digest("Reporter"), templates_digest()),
        ),
    )
