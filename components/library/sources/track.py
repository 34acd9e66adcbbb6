"""A song as a data set lists it, before anyone has opened its file."""

from dataclasses import dataclass

from components.library.layout import SPLITS

AUDIO_SUFFIXES = (
    *(".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp1", ".mp2", ".mp3", ".mpga", ".oga", ".ogg", ".opus"),
    *(".raw", ".rf64", ".snd", ".voc", ".w64", ".wav", ".wave"),
    # Seldom or never decodable here, but their owners take them for songs, and shall learn that they are not used.
    *(".3gp", ".aac", ".ac3", ".alac", ".amr", ".ape", ".dff", ".dsf", ".m4a", ".m4b", ".mka", ".mp4", ".mpc"),
    *(".ra", ".spx", ".tak", ".tta", ".weba", ".webm", ".wma", ".wv"),
)
"""What marks a file as audio, in lower case: whether it decodes is another question, which ingest answers."""

UNREADABLE, MISSING, UNKNOWN_GENRE, NOT_AUDIO = "unreadable", "missing file", "unknown genre", "not audio"
"""What `Track.problem` may begin with. NOT_AUDIO lies among the songs and is none: it is no failure."""

_SPLIT_NAMES = {
    "train": ("train", "training"),
    "eval": ("eval", "evaluation", "valid", "validation", "val", "dev"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True, slots=True)
class Track:
    """One input file."""

    track_id: str
    """Unique in its data set and the same at every ingest, wherever the files lie."""
    path: str
    """Relative to the root of the audio files, with forward slashes."""
    genre: str
    """Empty if the data set does not know."""
    group: str
    """What must not be divided among splits: the artist, or the recording that a clip was cut from."""
    split: str | None = None
    """One of SPLITS, or None: the data set leaves it to ingest."""
    problem: str = ""
    """Why it is rejected before its file is opened: one of the kinds above, or such a kind, a colon and the detail."""
    fold: str = ""
    """What a data set made for cross-validation calls the part that this is in; empty for any other."""
    where: str = ""
    """Where the data set lists it, for error messages, such as "labels.csv, line 7"."""


def parse_split(text: str) -> str | None:
    """The split that data sets call `text`, or None."""
    return next((split for split in SPLITS if text.strip().lower() in _SPLIT_NAMES[split]), None)


def known_splits() -> str:
    """The names of splits that `parse_split` understands, for error messages."""
    return ", ".join(name for split in SPLITS for name in _SPLIT_NAMES[split])
