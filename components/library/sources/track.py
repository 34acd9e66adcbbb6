"""A song as a data set lists it, before its file is opened."""

from dataclasses import dataclass

from components.library.layout import SPLITS

AUDIO_SUFFIXES = (
    *(".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp1", ".mp2", ".mp3", ".mpga", ".oga", ".ogg", ".opus"),
    *(".raw", ".rf64", ".snd", ".voc", ".w64", ".wav", ".wave"),
    *(".3gp", ".aac", ".ac3", ".alac", ".amr", ".ape", ".asf", ".dff", ".dsf", ".dts", ".eac3", ".m4a", ".m4b", ".m4p"),
    *(".mka", ".mp4", ".mpc", ".ra", ".rm", ".spx", ".tak", ".tta", ".weba", ".webm", ".wma", ".wv"),
)
"""Ends of the names of audio files, in lower case. Whether a file decodes is found out by the ingest."""

UNREADABLE, MISSING, UNKNOWN_GENRE = "unreadable", "missing file", "unknown genre"
NOT_AUDIO, LISTED_BEFORE = "not audio", "listed before"
RARE_GENRE, UNWANTED_GENRE = "rare genre", "unwanted genre"
LEFT_OUT = (NOT_AUDIO, LISTED_BEFORE, RARE_GENRE, UNWANTED_GENRE)
"""Kinds of problem that `Track.problem` may begin with. Those of LEFT_OUT are no songs, or nobody wants them, so they
are no rejects."""
NO_TEXT = f"{UNREADABLE}: its name is not valid UTF-8; rename it, with `convmv` for example"
"""Problem of a file whose name cannot be written into a table."""

_SPLIT_NAMES = {
    "train": ("train", "training"),
    "eval": ("eval", "evaluation", "valid", "validation", "val", "dev"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True, slots=True)
class Track:
    """One input file."""

    track_id: str
    """Unique in its data set, and the same at every ingest on every machine."""
    path: str
    """Relative to the root of the audio files, with forward slashes."""
    genre: str
    """Empty if the data set has none for it."""
    group: str
    """Songs of one group all go to one split: the artist, or the recording that a clip was cut from."""
    split: str | None = None
    """One of SPLITS; None: the data set has no split, and ingest chooses one."""
    problem: str = ""
    """Why it is rejected before its file is opened: one of the kinds above, or such a kind, a colon and the detail."""
    fold: str = ""
    """Name of its fold in a data set for cross-validation; empty in any other."""
    where: str = ""
    """The place where the data set lists it, for error messages, such as "labels.csv, line 7"."""

    @property
    def kind(self) -> str:
        """The kind of its problem; empty if it has none."""
        return self.problem.partition(":")[0]


def parse_split(text: str) -> str | None:
    """Returns the split that data sets call `text`; None if there is none."""
    return next((split for split in SPLITS if text.strip().lower() in _SPLIT_NAMES[split]), None)


def known_splits() -> str:
    """Lists the names of splits that `parse_split` understands, for error messages."""
    return ", ".join(name for split in SPLITS for name in _SPLIT_NAMES[split])
