"""google-cloud-storage's own client against a web service that answers as Cloud Storage does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from components.base.errors import UserError
from components.google import retries
from pipeline.config.settings import PipelineConfig
from pipeline.remote.buckets import check_buckets

READ = {"storage.objects.get", "storage.objects.list"}
ALL = READ | {"storage.objects.create", "storage.objects.delete"}


def permissions_of(name: str) -> str:
    return rf"/storage/v1/b/{name}/iam/testPermissions\?.*"


@pytest.fixture(autouse=True)
def storage(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", service.url)
    monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")  # it asks for more, some time


@pytest.fixture
def config(remote_config: Callable[..., PipelineConfig]) -> PipelineConfig:
    """Two buckets: songs and all else."""
    made = remote_config("vertex", check_buckets=True, pipeline_root="gs://work/artifacts")
    return made.model_copy(update={"data": "gs://songs/data", "workspace": "gs://work"})


def test_buckets_that_can_be_used(service: Any, config: PipelineConfig) -> None:
    service.on("GET", permissions_of("songs"), (503, {}), (200, {"permissions": sorted(READ)}))
    service.on("GET", permissions_of("work"), (200, {"permissions": sorted(ALL)}))
    check_buckets(config, "vertex")
    asked = {
        urlsplit(each.path).path: set(parse_qs(urlsplit(each.path).query)["permissions"]) for each in service.asked
    }
    assert asked == {
        "/storage/v1/b/songs/iam/testPermissions": READ,
        "/storage/v1/b/work/iam/testPermissions": ALL,
    }
    assert service.unexpected == []


def test_buckets_without_permission(service: Any, config: PipelineConfig) -> None:
    service.on("GET", permissions_of("songs"), (200, {"kind": "storage#testIamPermissionsResponse"}))
    service.on("GET", permissions_of("work"), (200, {"permissions": sorted(READ)}))
    with pytest.raises(UserError) as refusal:
        check_buckets(config, "vertex")
    told = str(refusal.value)
    assert "data: you lack storage.objects.get, storage.objects.list in bucket gs://songs" in told
    assert "gs://songs --role=roles/storage.objectViewer" in told
    assert "workspace, vertex.pipeline_root: you lack storage.objects.create, storage.objects.delete in bucket" in told
    assert "gs://work --role=roles/storage.objectUser" in told
    assert "set vertex.check_buckets to false" in told


def test_a_bucket_that_may_not_even_be_asked_about(service: Any, config: PipelineConfig) -> None:
    service.on("GET", permissions_of(".*"), (403, {"error": {"message": "billing"}}))
    with pytest.raises(UserError, match=r"data: you lack storage\.objects\.get"):
        check_buckets(config, "vertex")


def test_a_bucket_that_is_not_there(service: Any, config: PipelineConfig) -> None:
    service.on("GET", permissions_of("songs"), (200, {"permissions": sorted(READ)}))
    service.on("GET", permissions_of("work"), (404, {"error": {"message": "not found"}}))
    with pytest.raises(UserError, match=r"workspace, vertex\.pipeline_root: there is no bucket gs://work\. Create it"):
        check_buckets(config, "vertex")


def test_storage_that_is_out_of_order(service: Any, config: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "PATIENCE_SECONDS", 0.1)
    service.on("GET", permissions_of(".*"), (503, {}))
    with pytest.raises(UserError, match="Google Cloud Storage: the buckets cannot be checked"):
        check_buckets(config, "vertex")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="Google Cloud Storage: the buckets cannot be checked"):
        check_buckets(config, "vertex")


def test_no_credentials(config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(UserError, match=r"none\.json.*gcloud auth.*vertex\.check_buckets"):
        check_buckets(config, "vertex")


def test_what_is_left_to_the_cluster(service: Any, remote_config: Callable[..., PipelineConfig]) -> None:
    check_buckets(remote_config("vertex", check_buckets=False), "vertex")
    volume = {"claim": "genre", "path": "/genre"}
    local = remote_config("kubeflow", check_buckets=True, pipeline_root="s3://b/x", volumes=(volume,))
    check_buckets(local.model_copy(update={"data": "/genre/data", "workspace": "/genre"}), "kubeflow")
    assert service.asked == []
