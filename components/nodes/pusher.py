"""The node that deploys: TFX's Pusher, with our model store, in which nothing half-written is ever served."""

from typing import Any

from etils import epath
from tfx import types
from tfx.components.pusher import executor as pusher_executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.evaluation.curves import slices
from components.evaluation.predictions import read_predictions
from components.evaluation.results import Verdict, read_evaluation
from components.library.layout import complete_spans, read_manifest
from components.library.tables import read_examples
from components.nodes.artifacts import PREDICTIONS, PROFILE
from components.nodes.parameters.pusher import PusherParameters
from components.reporting.card import CardInputs, card_markdown, card_page
from components.store.model_card import find_card
from components.store.model_store import (
    WITHDRAWN_PROPERTY,
    WithdrawnError,
    prune,
    publish,
    version_dir,
)
from components.store.saved_model import SavedModel
from components.store.smoke import smoke_test


class StorePusherSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `StorePusher`."""

    PARAMETERS = {"parameters": component_spec.ExecutionParameter(type=str)}  # noqa: RUF012 (TFX's way)
    INPUTS = {  # noqa: RUF012
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "reference": component_spec.ChannelParameter(type=simple_artifacts.File, optional=True),
    }
    OUTPUTS = {  # noqa: RUF012
        "pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel),
    }


class Executor(pusher_executor.Executor):
    """TFX's Pusher with another copy: its own could be read half-way."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Publishes a blessed model, and removes old ones; marks `pushed_model` with the version, or as not pushed.

        A model that was rolled back is not pushed again: the gate does not know why it was.

        Raises:
          UserError: see `publish`; or the copy in the store does not load and answer.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        known = PusherParameters.model_validate_json(exec_properties["parameters"])
        store = epath.Path(known.store)
        evaluation = epath.Path(artifact_utils.get_single_uri(input_dict["evaluation"]))
        verdict = read_evaluation(evaluation)
        profiles = input_dict.get("reference")
        try:
            version = publish(
                store,
                epath.Path(self.GetModelPath(input_dict)),
                known.lineage,
                verdict,
                check=smoke_test,
                reference=epath.Path(artifact_utils.get_single_uri(profiles)) / PROFILE if profiles else None,
                complete=lambda version: _complete(version, evaluation, verdict, known),
            )
        except WithdrawnError as refusal:
            print(refusal)
            self._MarkNotPushed(pushed)
            pushed.set_string_custom_property(WITHDRAWN_PROPERTY, str(refusal.version))
            return
        prune(store, known.keep_versions)
        self._MarkPushed(pushed, str(version_dir(store, version)), str(version))


def _complete(version: epath.Path, evaluation: epath.Path, verdict: Verdict, known: PusherParameters) -> None:
    """Puts the card for people and the exports into a copy that becomes a version."""
    for name, text in _documents(version, evaluation, verdict, known).items():
        (version / name).write_text(text)
    if not known.export:
        return
    from components.exports.export import export_into

    print(*export_into(version, known.export, epath.Path(known.lineage.data)), sep="\n", flush=True)


def _documents(
    saved_model: epath.Path, evaluation: epath.Path, verdict: Verdict, known: PusherParameters
) -> dict[str, str]:
    """Writes the card for people, by the names of its files; none for a model that another program exported."""
    card = find_card(saved_model)
    if card is None:
        return {}
    root, lineage = epath.Path(known.lineage.data), known.lineage
    spans = complete_spans(root) if root.is_dir() else []
    judged = [each for each in (verdict.span, *verdict.joined) if each in spans]
    facts = {row["track_id"]: row for each in judged for row in read_examples(root, each)}
    answers = evaluation / PREDICTIONS
    rows = read_predictions(answers) if answers.exists() else ()
    tested = [row for row in rows if row.split == verdict.split]
    inputs = CardInputs(
        name=known.name,
        card=card,
        lineage=lineage,
        verdict=verdict,
        manifests=[read_manifest(root, each) for each in lineage.window if each in spans],
        predictions=rows,
        weak=[each for each in slices(tested, facts) if each.weak],
    )
    files = SavedModel(saved_model)
    return {files.document.name: card_markdown(inputs), files.document_page.name: card_page(inputs)}


class StorePusher(base_component.BaseComponent):
    """Pushes a blessed model to the model store and points at it."""

    SPEC_CLASS = StorePusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        model_blessing: types.BaseChannel,
        evaluation: types.BaseChannel,
        parameters: str,
        reference: types.BaseChannel | None = None,
    ) -> None:
        """Wires the node.

        Args:
          model: the candidate.
          model_blessing: whether it may be pushed.
          evaluation: holds the gate's verdict, which goes with the model.
          parameters: `PusherParameters`, JSON.
          reference: the profile, which goes with the model.
        """
        super().__init__(
            StorePusherSpec(
                model=model,
                model_blessing=model_blessing,
                evaluation=evaluation,
                reference=reference,
                parameters=parameters,
                pushed_model=types.Channel(type=standard_artifacts.PushedModel),
            )
        )
