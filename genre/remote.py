"""A model on a server, `genre serve`; needs no TensorFlow here."""

import io
import json
import os
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from components.audio.decoding import AudioError
from components.audio.samples import Samples
from components.base.errors import UserError
from components.store.answers import Segment, SongGenres
from genre.model import Answer, Audio, Model, Song

_TIMEOUT = 600.0
"""Seconds that a server may take for a song."""
_AT_A_TIME = 4
"""Songs of a batch that are sent at a time."""
_UNREADABLE = (400, 413, 415, 422)
"""What a server answers if the song is at fault."""


class RemoteModel(Model):
    """The model that a server serves, whatever version that is at the time."""

    def __init__(self, address: str, token: str | None = None) -> None:
        """Asks the server for its version.

        Raises:
          UserError: nothing answers there.
        """
        self._address, self._token = address.rstrip("/"), token
        _ = self.version  # an address that is wrong is told at once

    @property
    def version(self) -> int | None:
        """The version that is served now."""
        states = self._ask(urllib.request.Request(f"{self._address}/v1/models/genre"))["model_version_status"]
        return max(int(state["version"]) for state in states if state["state"] == "AVAILABLE")

    def answer(self, songs: Iterable[Song], segments: bool = False, hop: float | None = None) -> Iterator[Answer]:
        """Yields the answer for each song, some of which are sent at a time."""
        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            yield from threads.map(partial(self._send, hop=hop), songs)

    def embed(self, song: Audio, rate: int | None = None) -> NDArray[np.float32]:
        """Raises a UserError: the server does not tell."""
        raise UserError(f"{self._address}: a server gives no embeddings. Load the model itself: genre.load(workspace).")

    def _send(self, song: Song, hop: float | None) -> Answer:
        try:
            name, content = _file(song)
        except (AudioError, OSError) as error:
            return error
        boundary = uuid.uuid4().hex
        disposition = f'Content-Disposition: form-data; name="file"; filename="{urllib.parse.quote(name)}"'
        head = f"--{boundary}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n"
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        query = "" if hop is None else "?" + urllib.parse.urlencode({"hop": hop})
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        try:
            found = self._ask(urllib.request.Request(f"{self._address}/predict{query}", body, headers))
        except AudioError as error:
            return error
        parts = tuple(Segment(part["start"], part["end"], part["genres"]) for part in found["segments"])
        return SongGenres(found["genres"], found.get("clips", 0), parts)

    def _ask(self, request: urllib.request.Request) -> Any:
        """Returns the JSON that the server answers.

        Raises:
          AudioError: what was sent is at fault.
          UserError: there is no such server, or it refuses.
        """
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                reason = str(json.loads(text)["error"])
            except (ValueError, KeyError, TypeError):
                reason = text[:300] or error.reason
            if error.code in _UNREADABLE:
                raise AudioError(reason) from error
            raise UserError(f"{self._address}: {error.code}: {reason}") from error
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self._address}: no answer ({getattr(error, 'reason', error)}). Start `genre serve`, or name another "
                "address."
            ) from error


def _file(song: Song) -> tuple[str, bytes]:
    """Returns the name and the content of the file to send.

    Raises:
      AudioError: an array that is no audio.
      OSError: a file that cannot be read.
    """
    if isinstance(song, Path):
        return os.fsencode(song.name).decode(errors="replace"), song.read_bytes()
    if not isinstance(song, Samples):
        song.seek(0)
        return "song", song.read()
    if problem := song.problem() or ("" if len(song.values) else "no samples in it"):
        raise AudioError(problem)
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(list(song.blocks())), song.rate, "FLOAT", format="WAV")
    return "array.wav", file.getvalue()
