"""The parameters of EndpointPusher."""

from components.base.section import Section
from components.google.config import EndpointConfig


class EndpointParameters(Section):
    """The endpoint of Vertex AI."""

    model: str
    """Id of the model in Vertex AI's registry."""
    endpoint: EndpointConfig
    project: str
    region: str
    api: str
    """URL of Vertex AI in the region."""
    encryption_key: str | None
    """Name of the user's own key; null: Google's keys."""
    code: str
