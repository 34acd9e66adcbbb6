"""The node that writes the report: it gathers the run's results, and `components.reporting.report` renders them."""

import json
from datetime import UTC, datetime

from etils import epath
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.drift.profile import read_profile
from components.evaluation.predictions import read_predictions
from components.evaluation.results import read_evaluation
from components.library.layout import read_manifest
from components.library.tables import read_examples, read_rejects
from components.nodes.artifacts import PREDICTIONS, PROFILE, TESTED, serving_path, split_files
from components.nodes.parameters.reporter import ReporterParameters
from components.reporting.hearing import heard_clips
from components.reporting.listening import clips_to_hear
from components.reporting.report import ReportInputs, render_report
from components.reporting.spectrograms import SpectrogramScale
from components.retraining.history import outcome_of, read_history
from components.retraining.timeline import read_store, timeline, with_run
from components.store.model_card import HISTORY, read_card
from components.store.model_store import WITHDRAWN_PROPERTY

REPORT = "report.html"


@component
def Reporter(  # noqa: N802 (the name of a node)
    examples: InputArtifact[standard_artifacts.Examples],
    model: InputArtifact[standard_artifacts.Model],
    model_run: InputArtifact[standard_artifacts.ModelRun],
    evaluation: InputArtifact[standard_artifacts.ModelEvaluation],
    reference: InputArtifact[simple_artifacts.File],
    pushed_model: InputArtifact[standard_artifacts.PushedModel],
    report: OutputArtifact[simple_artifacts.File],
    anomalies: Parameter[str],
    parameters: Parameter[str],
) -> None:
    """Writes `report.html`.

    Args:
      examples: raw examples; those that judged it are there to be heard.
      model: the candidate.
      model_run: holds `history.json`.
      evaluation: holds the verdict and the predictions.
      reference: the candidate's profile of clips, for the map.
      pushed_model: has the version that the candidate was pushed as, if it was.
      report: the page.
      anomalies: of the data, JSON; see `DataGate`.
      parameters: `ReporterParameters`, JSON.
    """
    known = ReporterParameters.model_validate_json(parameters)
    saved_model = epath.Path(serving_path(model))
    card = read_card(saved_model)
    origin = known.lineage
    root = epath.Path(origin.data)
    training = json.loads((epath.Path(model_run.uri) / HISTORY).read_text())
    verdict = read_evaluation(epath.Path(evaluation.uri))
    version = pushed_model.get_string_custom_property("pushed_version")
    withdrawn = pushed_model.get_string_custom_property(WITHDRAWN_PROPERTY)
    outcome = outcome_of(
        verdict,
        int(version) if version else None,
        int(withdrawn) if withdrawn else None,
        training.get("started_from", ""),
        datetime.now(UTC),
    )
    history = read_history(epath.Path(known.history))
    judged = [each for each in (verdict.span, *verdict.joined) if each is not None]
    answers = read_predictions(epath.Path(evaluation.uri) / PREDICTIONS)
    drift = next((record.drift for record in history if record.candidate == origin.candidate), None)
    chosen = clips_to_hear(
        [row for row in answers if row.split == verdict.split],
        card.features.genres,
        [far.track_id for far in drift.farthest] if drift else [],
    )
    profile = read_profile(epath.Path(reference.uri) / PROFILE)
    inputs = ReportInputs(
        title=f"Music genres, span {origin.span}",
        pipeline_name=known.config["name"],
        genres=card.features.genres,
        manifest=read_manifest(root, origin.span),
        tracks=list(read_examples(root, origin.span)),
        learnt=sum(read_manifest(root, each).splits["train"].clips for each in origin.window),
        validated=sum(read_manifest(root, each).splits["eval"].clips for each in origin.window),
        facts={row["track_id"]: row for each in judged for row in read_examples(root, each)},
        rejects=list(read_rejects(root, origin.span)),
        heard=heard_clips(saved_model, split_files(examples, (*TESTED, "eval")), chosen, card.features),
        history=training,
        verdict=verdict,
        anomalies=json.loads(anomalies),
        model=card.model_dump(exclude={"features"}),
        config=known.config,
        pushed=(
            {
                "version": version,
                "path": pushed_model.get_string_custom_property("pushed_destination"),
            }
            if pushed_model.get_int_custom_property("pushed")
            else None
        ),
        scale=SpectrogramScale(card.features.audio.sample_rate, card.features.mel.fmin, card.features.mel.fmax),
        predictions=answers,
        timeline=timeline(with_run(history, origin, outcome), read_store(epath.Path(known.store))),
        drift=drift,
        embeddings=dict(zip(profile.track_ids.tolist(), profile.embeddings, strict=True)),
        lineage=origin,
    )
    directory = epath.Path(report.uri)
    directory.mkdir(parents=True, exist_ok=True)  # not every backend has made it
    (directory / REPORT).write_text(render_report(inputs))
