"""Checks that the buckets of Google Cloud that a run works on exist and may be used."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from components.base.errors import UserError
from pipeline.config.settings import PipelineConfig
from pipeline.config.targets import Target
from pipeline.remote.checks import check_target
from pipeline.remote.credentials import LOGIN

_READ = frozenset({"storage.objects.get", "storage.objects.list"})
_WRITE = _READ | {"storage.objects.create", "storage.objects.delete"}


@dataclass
class _Use:
    """The settings that name a bucket, and the permissions that they need."""

    keys: list[str]
    permissions: frozenset[str]


def check_buckets(config: PipelineConfig, target: Target) -> None:
    """Checks that every bucket of Google Cloud that `config` names exists, and that you may use it.

    The steps mostly run as another account; only they can find out what that one may do.

    Raises:
      UserError: the list of all that is wrong with the buckets.
    """
    settings = check_target(config, target)
    buckets: dict[str, _Use] = {}
    for key, root, permissions in (
        ("data", config.data, _READ),
        ("workspace", config.workspace, _WRITE),
        (f"{target}.pipeline_root", settings.pipeline_root or "", _WRITE),
    ):
        if root.startswith("gs://"):
            use = buckets.setdefault(urlsplit(root).netloc, _Use([], frozenset()))
            use.keys.append(key)
            use.permissions |= permissions
    if not buckets or not settings.check_buckets:
        return
    otherwise = f"If the steps may use it though you may not, set {target}.check_buckets to false."
    wrong = []
    for name, missing in _missing_permissions(buckets, target).items():
        keys = ", ".join(buckets[name].keys)
        if missing is None:
            wrong.append(
                f"{keys}: there is no bucket gs://{name}. Create it: gcloud storage buckets create gs://{name}"
            )
        elif missing:
            role = "roles/storage.objectUser" if missing - _READ else "roles/storage.objectViewer"
            wrong.append(
                f"{keys}: you lack {', '.join(sorted(missing))} in bucket gs://{name}. Ask for the role {role}: "
                f"gcloud storage buckets add-iam-policy-binding gs://{name} --role={role} --member=user:YOU. "
                f"{otherwise}"
            )
    if wrong:
        raise UserError("the buckets cannot be used:\n  " + "\n  ".join(wrong))


def _missing_permissions(buckets: dict[str, _Use], target: Target) -> dict[str, frozenset[str] | None]:
    """By bucket: the permissions that you lack; None if there is no such bucket."""
    import requests.exceptions
    from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import storage
    from google.cloud.storage.retry import DEFAULT_RETRY

    from components.google import retries

    retry = DEFAULT_RETRY.with_timeout(retries.PATIENCE_SECONDS).with_delay(initial=retries.FIRST_WAIT_SECONDS)
    found: dict[str, frozenset[str] | None] = {}
    try:
        client = storage.Client(project=None)
        for name, use in buckets.items():
            try:
                held = client.bucket(name).test_iam_permissions(
                    sorted(use.permissions), timeout=retries.REQUEST_SECONDS, retry=retry
                )
                found[name] = use.permissions - set(held)
            except NotFound:
                found[name] = None
            except Forbidden:
                found[name] = use.permissions
    except GoogleAuthError as error:
        raise UserError(
            f"the buckets cannot be checked: {str(error).split('. ')[0]}. {LOGIN} Or set {target}.check_buckets to "
            "false, if only the steps may use them."
        ) from error
    except (GoogleAPIError, requests.exceptions.RequestException) as error:
        raise UserError(f"Google Cloud Storage: the buckets cannot be checked: {error}") from error
    return found
