"""Credentials for Google Cloud: Application Default Credentials, never a setting."""

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components.base.errors import UserError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

LOGIN = (
    "Log in (gcloud auth application-default login), or set GOOGLE_APPLICATION_CREDENTIALS to the key file of a "
    "service account."
)


def is_loopback(url: str) -> bool:
    """Returns whether a URL is plain HTTP to this machine: nobody overhears a secret there, and none is needed."""
    parts = urlsplit(url)
    try:
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.scheme == "http" and parts.hostname == "localhost"


def credentials_for(endpoint: str) -> "Credentials":
    """Returns credentials for an endpoint of Google Cloud; anonymous ones for plain HTTP to this machine.

    Raises:
      UserError: there are none.
    """
    if is_loopback(endpoint):
        from google.auth.credentials import AnonymousCredentials

        return AnonymousCredentials()
    from components.google.client import default_credentials

    try:
        return default_credentials()
    except UserError as error:
        raise UserError(f"{error}. {LOGIN}") from error


def account_of(credentials: "Credentials") -> str:
    """Returns the account of `credentials`, as far as they name it."""
    for attribute in ("service_account_email", "account"):
        if named := getattr(credentials, attribute, None):
            return named
    return "the account of your Application Default Credentials"
