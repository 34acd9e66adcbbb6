import pytest

from components.google import retries
from pipeline.remote import service


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is busy, or has work under way, is asked again at once."""
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(service, "POLL_SECONDS", 0.01)
