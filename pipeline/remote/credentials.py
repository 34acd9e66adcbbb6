"""Who asks Google Cloud: Application Default Credentials, never a setting."""

from typing import TYPE_CHECKING

from components.base.errors import UserError
from pipeline.remote.places import is_loopback

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

LOGIN = (
    "Log in (gcloud auth application-default login), or set GOOGLE_APPLICATION_CREDENTIALS to the key file of a "
    "service account."
)


def credentials_for(endpoint: str) -> "Credentials":
    """Credentials for an endpoint of Google Cloud; none for plain HTTP to this machine, which could not check them.

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
    """Whose credentials they are, as far as they say."""
    for attribute in ("service_account_email", "account"):
        if named := getattr(credentials, attribute, None):
            return named
    return "the account of your Application Default Credentials"
