"""Small objects in a bucket of Google Cloud Storage, written on the condition that nobody else did so meanwhile.

The storage numbers what is written under a name: the generation, which grows. A write that names the generation that it
replaces is refused if there is another one by now (https://cloud.google.com/storage/docs/request-preconditions).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components.base.errors import UserError

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

NONE = 0
"""The generation where there is no object."""
_SECONDS = 60.0
"""Longest wait for an answer; a request that fails for the moment is repeated for twice as long."""


class ChangedError(Exception):
    """The object is not the one that a write was to replace."""


@dataclass(frozen=True)
class StoredObject:
    """An object by its address, gs://bucket/name, whether it is there or not.

    Its methods raise UserError if the storage does not answer, or refuses.
    """

    address: str

    def read(self) -> tuple[bytes, int]:
        """Returns content and generation; nothing and NONE where there is no object."""
        from google.api_core.exceptions import NotFound

        with _explained(self.address):
            try:
                blob = self._bucket.blob(self._name)
                content = blob.download_as_bytes(timeout=_SECONDS)
            except NotFound:
                return b"", NONE
        return content, int(blob.generation)

    def write(self, content: bytes, generation: int) -> int:
        """Puts `content` in the place of what has this generation; returns its own.

        Raises:
          ChangedError: something else is there.
        """
        from google.api_core.exceptions import PreconditionFailed

        blob = self._bucket.blob(self._name)
        with _explained(self.address):
            try:
                blob.upload_from_string(content, if_generation_match=generation, timeout=_SECONDS)
            except PreconditionFailed as error:
                found, now = self.read()
                if found != content:  # else it is ours: an answer was lost, and the request repeated
                    raise ChangedError(self.address) from error
                return now
        return int(blob.generation)

    def delete(self, generation: int) -> None:
        """Removes what has this generation.

        Raises:
          ChangedError: something else is there, or nothing.
        """
        from google.api_core.exceptions import NotFound, PreconditionFailed

        with _explained(self.address):
            try:
                self._bucket.blob(self._name).delete(if_generation_match=generation, timeout=_SECONDS)
            except (NotFound, PreconditionFailed) as error:
                raise ChangedError(self.address) from error

    @property
    def _name(self) -> str:
        return urlsplit(self.address).path.lstrip("/")

    @cached_property
    def _bucket(self) -> "Bucket":
        from google.cloud.storage import Client

        scheme, bucket, *_ = urlsplit(self.address)
        if scheme != "gs":
            raise UserError(f"{self.address}: only buckets of Google Cloud Storage (gs://) can be written to safely.")
        with _explained(self.address):
            return Client(project=None).bucket(bucket)


@contextmanager
def _explained(address: str) -> Iterator[None]:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, RequestException) as error:
        raise UserError(f"{address}: Google Cloud Storage: {error}") from error
