"""The card of a SavedModel: enough to call the model, and to see whether two models can be compared."""

from etils import epath
from pydantic import Field, ValidationError

from components.audio.config import FeatureConfig
from components.base.errors import UserError
from components.base.files import write_atomically
from components.base.json_records import find_record, read_record
from components.base.section import Section
from components.store.saved_model import SavedModel

HISTORY = "history.json"
"""File beside a Trainer's logs that holds the figures of each epoch."""

_REMEDY = "Restore the model, or train it again."


class ModelCard(Section):
    """The facts that a caller needs about a model, besides its graph."""

    kind: str
    parameters: int
    window_seconds: float
    features: FeatureConfig
    trained_on: dict[str, str] = Field(default_factory=dict)
    """What the pretrained bases in it had learned from before, and their licences, by kind."""


def write_card(card: ModelCard, saved_model: epath.Path) -> None:
    """Puts the card into a SavedModel."""
    write_atomically(SavedModel(saved_model).card, card.model_dump_json(indent=2))


def read_card(saved_model: epath.Path) -> ModelCard:
    """Reads the card of a SavedModel that `models.serving.export` wrote.

    Raises:
      UserError: the card is missing or damaged.
    """
    return read_record(SavedModel(saved_model).card, ModelCard, _REMEDY)


def parse_card(text: str, file: epath.Path) -> ModelCard:
    """Reads the card that an export carries as JSON in `file`.

    Raises:
      UserError: it is damaged.
    """
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{file}: its model card is damaged: {error.errors()[0]['msg']}. Export it again.") from error


def find_card(saved_model: epath.Path) -> ModelCard | None:
    """Reads the card, as `read_card`; returns None for a model that another program exported."""
    return find_record(SavedModel(saved_model).card, ModelCard, _REMEDY)
