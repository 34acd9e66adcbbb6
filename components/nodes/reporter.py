"""The node that writes the report: it gathers the run's results, and `components.reporting.report` renders them."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import tensorflow as tf
from etils import epath
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.audio.config import FeatureConfig
from components.audio.mel import log_mel
from components.audio.waveform import decode_wavs, to_float
from components.base.tables import read_table
from components.evaluation.predictions import read_predictions
from components.evaluation.results import read_evaluation
from components.library.layout import read_manifest, span_dir
from components.nodes.artifacts import PREDICTIONS, TESTED, serving_path, split_files
from components.nodes.parameters.reporter import ReporterParameters
from components.reporting.report import ReportInputs, render_report
from components.retraining.history import outcome_of, read_history
from components.retraining.timeline import read_store, timeline, with_run
from components.store.model_card import HISTORY, read_card
from components.store.model_store import WITHDRAWN_PROPERTY

REPORT = "report.html"


def _rows(path: epath.Path) -> list[dict[str, str]]:
    return list(read_table(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def sample_spectrograms(files: list[str], features: FeatureConfig) -> Iterator[tuple[str, str, np.ndarray, float]]:
    """Finds the first clip of each genre in gzipped TFRecord files.

    Yields:
      Track id, genre, float32 [frames, mels] in dB from -80 to 0, seconds.
    """
    strings = tf.io.FixedLenFeature([], tf.string)
    waiting = set(features.genres)
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP"):
        if not waiting:
            return
        example = tf.io.parse_single_example(record, {"track_id": strings, "genre": strings, "audio": strings})
        genre = example["genre"].numpy().decode()
        if genre in waiting:
            waiting.remove(genre)
            samples = decode_wavs(example["audio"][tf.newaxis], features.audio)
            mel = log_mel(to_float(samples), features.audio, features.mel)[0].numpy()
            yield example["track_id"].numpy().decode(), genre, mel, features.audio.clip_seconds


@component
def Reporter(  # noqa: N802 (the name of a node)
    examples: InputArtifact[standard_artifacts.Examples],
    model: InputArtifact[standard_artifacts.Model],
    model_run: InputArtifact[standard_artifacts.ModelRun],
    evaluation: InputArtifact[standard_artifacts.ModelEvaluation],
    pushed_model: InputArtifact[standard_artifacts.PushedModel],
    report: OutputArtifact[simple_artifacts.File],
    anomalies: Parameter[str],
    parameters: Parameter[str],
) -> None:
    """Writes `report.html`.

    Args:
      examples: raw examples; a clip per genre is drawn from those that judged it.
      model: the candidate.
      model_run: holds `history.json`.
      evaluation: holds the verdict and the predictions.
      pushed_model: has the version that the candidate was pushed as, if it was.
      report: the page.
      anomalies: of the data, JSON; see `DataGate`.
      parameters: `ReporterParameters`, JSON.
    """
    known = ReporterParameters.model_validate_json(parameters)
    card = read_card(epath.Path(serving_path(model)))
    origin = known.lineage
    root = epath.Path(origin.data)
    span = span_dir(root, origin.span)
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
    inputs = ReportInputs(
        title=f"Music genres, span {origin.span}",
        pipeline_name=known.config["name"],
        genres=card.features.genres,
        manifest=read_manifest(root, origin.span),
        tracks=_rows(span / "tracks.csv"),
        paths={row["track_id"]: row["path"] for each in judged for row in _rows(span_dir(root, each) / "tracks.csv")},
        rejects=_rows(span / "rejects.csv"),
        samples=list(sample_spectrograms(split_files(examples, TESTED), card.features)),
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
        sample_rate=card.features.audio.sample_rate,
        hop_length=card.features.mel.hop_length,
        fmin=card.features.mel.fmin,
        fmax=card.features.mel.fmax,
        predictions=read_predictions(epath.Path(evaluation.uri) / PREDICTIONS),
        timeline=timeline(with_run(history, origin, outcome), read_store(epath.Path(known.store))),
        drift=next((record.drift for record in history if record.candidate == origin.candidate), None),
    )
    directory = epath.Path(report.uri)
    directory.mkdir(parents=True, exist_ok=True)  # not every backend has made it
    (directory / REPORT).write_text(render_report(inputs))
