"""The node that serves the pushed version at a Vertex AI endpoint."""

from etils import epath
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts

from components.base.errors import UserError
from components.nodes.parameters.endpoint_pusher import EndpointParameters
from components.store.checksums import require_sound
from components.store.model_card import read_card
from components.store.model_store import current_version, read_lineage


@component
def EndpointPusher(  # noqa: N802 (the name of a node)
    pushed_model: InputArtifact[standard_artifacts.PushedModel],
    served_model: OutputArtifact[standard_artifacts.PushedModel],
    parameters: Parameter[str],
) -> None:
    """Has an endpoint serve the version that was pushed; where none was, it calls no service.

    Args:
      pushed_model: of StorePusher.
      served_model: says whether, as which version, and from which endpoint it is served.
      parameters: `EndpointParameters`, JSON.

    Raises:
      UserError: another version has been pushed since, or it is damaged; or see `components.google.endpoint.serve`.
    """
    known = EndpointParameters.model_validate_json(parameters)
    pushed = pushed_model.get_int_custom_property("pushed")
    served_model.set_int_custom_property("pushed", pushed)
    if not pushed:
        return
    from components.google.endpoint import Version, serve  # Google's clients: seconds, and only here

    saved_model = epath.Path(pushed_model.get_string_custom_property("pushed_destination"))
    store, number = saved_model.parent, int(saved_model.name)
    if (current := current_version(store)) != number:
        raise UserError(
            f"{store}: version {current} has been pushed since by another run, or version {number} was rolled back. "
            f"Nothing was changed at the endpoint {known.endpoint.name}."
        )
    require_sound(saved_model)
    lineage = read_lineage(store, number)
    version = Version(
        model=known.model,
        number=number,
        candidate=lineage.candidate if lineage else str(saved_model),
        saved_model=str(saved_model),
        features=read_card(saved_model).features,
    )
    name = serve(version, known.endpoint, known.project, known.region, known.api, encryption_key=known.encryption_key)
    served_model.set_string_custom_property("pushed_destination", name)
    served_model.set_string_custom_property("pushed_version", str(number))
