"""Names the genre of songs with a model that `genre run` pushed, or that a server has; see docs/python.md.

>>> import genre
>>> model = genre.load("workspace")
>>> model.predict("song.mp3")
{'Folk': 0.81, 'Rock': 0.12, 'Jazz': 0.07}
"""

from components.audio.decoding import AudioError
from components.base.errors import UserError
from components.store.answers import Segment
from genre.loading import load
from genre.model import Audio, Model

__all__ = ["Audio", "AudioError", "Model", "Segment", "UserError", "load"]
