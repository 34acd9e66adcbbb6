"""How the services of Google Cloud are asked: with which credentials, how patiently, and what their errors mean."""

import re

import requests
from google import auth
from google.api_core.exceptions import (
    Forbidden,
    GoogleAPIError,
    RetryError,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
)
from google.api_core.retry import Retry, if_exception_type, if_transient_error
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.protobuf.json_format import ParseError

from components.base.errors import UserError

REQUEST_SECONDS = 60.0
"""For the answer to one request."""
PATIENCE = 120.0
"""Seconds for which a request that is turned away is repeated."""
READING = Retry(if_transient_error, initial=0.5, maximum=20.0, timeout=PATIENCE)
CHANGING = Retry(if_exception_type(TooManyRequests, ServiceUnavailable), initial=0.5, maximum=20.0, timeout=PATIENCE)
"""Only what was surely not done is asked for again."""
FAILURES = (GoogleAPIError, GoogleAuthError, requests.RequestException, TimeoutError, ParseError)
"""What may come of a request, and of waiting for an operation."""


def default_credentials() -> Credentials:
    """Those that this machine has by itself: of the service account that it runs as, or of whoever is logged in.

    Raises:
      UserError: it has none.
    """
    try:
        credentials, _ = auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except GoogleAuthError as error:
        raise UserError(f"there are no credentials for Google Cloud: {str(error).split('. ')[0]}") from error
    return credentials


def in_words(error: BaseException, project: str, credentials: Credentials) -> str:
    """What one of `FAILURES` means to a person, and what to do about it."""
    if isinstance(error, RetryError) and error.cause is not None:
        return in_words(error.cause, project, credentials)
    if isinstance(error, Forbidden):
        account = getattr(credentials, "service_account_email", "") or "the one that the steps run as"
        return (
            f"{_message(error)}. Grant the role roles/aiplatform.user in project {project} to the service account "
            f"({account}; see vertex.service_account)."
        )
    if isinstance(error, Unauthorized | GoogleAuthError):
        return f"{_message(error)}. The steps need credentials of Google Cloud."
    if isinstance(error, TooManyRequests):
        return f"{_message(error)}. A quota is used up: ask for more of it, or for less at a time."
    return _message(error)


def _message(error: BaseException) -> str:
    """What the service says, without the request that it says it to."""
    message = str(getattr(error, "message", "") or error) or type(error).__name__
    return re.sub(r"^[A-Z]+ https?://\S+: ", "", message).rstrip(".")
