"""What a SavedModel says of itself: enough to call it, and to tell whether two can be compared."""

from etils import epath
from pydantic import ValidationError

from components.audio.config import FeatureConfig
from components.base.errors import UserError
from components.base.section import Section, problems

HISTORY = "history.json"
"""File beside a Trainer's logs: how the training went."""

_CARD = "assets.extra/model.json"  # TensorFlow Serving ignores assets.extra


class ModelCard(Section):
    """What a caller must know of a model, besides its graph."""

    kind: str
    parameters: int
    window_seconds: float
    features: FeatureConfig


def write_card(card: ModelCard, saved_model: epath.Path) -> None:
    """Puts the card into a SavedModel."""
    path = saved_model / _CARD
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(card.model_dump_json(indent=2))


def read_card(saved_model: epath.Path) -> ModelCard:
    """The card of a SavedModel that `models.serving.export` wrote.

    Raises:
      UserError: the card is damaged.
    """
    path = saved_model / _CARD
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except ValidationError as error:
        wrong = "; ".join(problems(error))
        raise UserError(
            f"{path}: damaged, or of another version of this project: {wrong}. Restore the model."
        ) from error


def find_card(saved_model: epath.Path) -> ModelCard | None:
    """As `read_card`; None for a model of somebody else's."""
    return read_card(saved_model) if (saved_model / _CARD).exists() else None
