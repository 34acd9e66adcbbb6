"""Credentials for Google Cloud, and explanations of its errors."""

import re

import requests
from google import auth
from google.api_core.exceptions import (
    Forbidden,
    GoogleAPIError,
    RetryError,
    TooManyRequests,
    Unauthorized,
)
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.protobuf.json_format import ParseError

from components.base.errors import UserError

FAILURES = (GoogleAPIError, GoogleAuthError, requests.RequestException, TimeoutError, ParseError)
"""Exceptions that a request, or the wait for an operation, may raise."""


def default_credentials() -> Credentials:
    """Returns Application Default Credentials: of this machine's service account, or of whoever is logged in.

    Raises:
      UserError: this machine has none.
    """
    try:
        credentials, _ = auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except GoogleAuthError as error:
        raise UserError(f"there are no credentials for Google Cloud: {str(error).split('. ')[0]}") from error
    return credentials


def explained(error: BaseException, project: str, credentials: Credentials) -> str:
    """Explains one of `FAILURES` to a person, with what to do about it."""
    if isinstance(error, RetryError) and error.cause is not None:
        return explained(error.cause, project, credentials)
    if isinstance(error, Forbidden):
        account = getattr(credentials, "service_account_email", "") or "the account that the steps run as"
        return (
            f"{_message(error)}. Grant the role roles/aiplatform.user in project {project} to the service account "
            f"({account}; see vertex.service_account)."
        )
    if isinstance(error, Unauthorized | GoogleAuthError):
        return f"{_message(error)}. The steps need credentials of Google Cloud."
    if isinstance(error, TooManyRequests):
        return f"{_message(error)}. A quota is used up: request a larger quota, or use less at a time."
    return _message(error)


def _message(error: BaseException) -> str:
    """The service's message, without the request that it answers."""
    message = str(getattr(error, "message", "") or error) or type(error).__name__
    return re.sub(r"^[A-Z]+ https?://\S+: ", "", message).rstrip(".")
