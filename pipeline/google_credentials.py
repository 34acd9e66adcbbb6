"""Who asks Google Cloud: Application Default Credentials, never a setting."""

from typing import TYPE_CHECKING

from components.errors import UserError
from pipeline.targets import is_loopback

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

LOGIN = (
    "Log in (gcloud auth application-default login), or set GOOGLE_APPLICATION_CREDENTIALS to the key file of a "
    "service account."
)
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def credentials_for(endpoint: str) -> "Credentials":
    """Credentials for an endpoint of Google Cloud; none for plain HTTP to this machine, which could not check them.

    Raises:
      UserError: there are none.
    """
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import GoogleAuthError

    if is_loopback(endpoint):
        return AnonymousCredentials()
    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    except GoogleAuthError as error:
        raise UserError(f"there are no credentials for Google Cloud: {str(error).split('. ')[0]}. {LOGIN}") from error
    return credentials


def account_of(credentials: "Credentials") -> str:
    """Whose credentials they are, as far as they say."""
    for attribute in ("service_account_email", "account"):
        if named := getattr(credentials, attribute, None):
            return named
    return "the account of your Application Default Credentials"
