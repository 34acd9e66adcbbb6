"""The web application: TensorFlow Serving's REST API, `POST /predict` for songs, the page, and what operators ask."""

import json
import logging
import os
from collections.abc import Iterable
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, File, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from components.audio.decoding import AudioError
from components.base.errors import UserError
from pipeline.serving import tensorflow_serving
from pipeline.serving.batching import RefusedError, SignatureError
from pipeline.serving.following import Follower, NoModelError
from pipeline.serving.limits import Gate, Limits, refusal
from pipeline.serving.metrics import Measured, Metrics
from pipeline.serving.songs import SongAnswer, TooLongError, listen

if TYPE_CHECKING:
    from pipeline.serving.loaded_model import LoadedModel

STATIC = Path(__file__).with_name("static")
log = logging.getLogger(__name__)


class Problem(BaseModel):
    """Why there is no answer."""

    error: str


class Accuracy(BaseModel):
    """How good the model was at the gate."""

    accuracy: float
    interval: tuple[float, float] = Field(description="95 % interval of the accuracy")
    macro_f1: float
    clips: int
    golden: bool = Field(
        description="on the golden set, by which all versions are compared; else on its own test clips"
    )


class ModelFacts(BaseModel):
    """The model that answers, and what the server takes."""

    version: int
    kind: str
    parameters: int
    genres: tuple[str, ...]
    sample_rate: int
    clip_seconds: float
    window_seconds: float = Field(description="what it answers at a time; kinds without a time axis: a whole clip")
    trained_on: dict[str, str] = Field(description="what the pretrained bases in it had learned from before")
    judged: Accuracy | None = Field(description="null for a model that was put into the store by hand")
    limits: Limits


def create_app(
    follower: "Follower[LoadedModel]", metrics: Metrics, limits: Limits, hosts: Iterable[str] = (), token: str = ""
) -> FastAPI:
    """Makes the application.

    Args:
      hosts, token: see `Gate`.
    """
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem} for status in (400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503)
    }
    app = FastAPI(
        title="genre",
        summary="Names the genres of songs with the model that is served.",
        version=installed_version("genre-pipeline"),
        docs_url=None,  # it would load a page's scripts from elsewhere
        redoc_url=None,
    )
    app.add_middleware(Gate, limits=limits, hosts=hosts, token=token)
    app.add_middleware(Measured, metrics=metrics)
    _tell_problems(app)
    songs_at_a_time = CapacityLimiter(2 * (os.cpu_count() or 1))  # decoded ones take memory; others wait as files

    # --- Songs, and the page ---

    @app.post("/predict", response_model_exclude_none=True, responses=refusals)
    async def predict(
        file: Annotated[UploadFile, File(description="a song in any format that `genre ingest` reads")],
        hop: Annotated[
            float | None, Query(gt=0.0, allow_inf_nan=False, description="seconds between segments, which may overlap")
        ] = None,
        picture: Annotated[bool, Query(description="also answer a picture of the song, as the page draws it")] = False,
    ) -> SongAnswer:
        """Names the genres of a song, as a whole and over time."""

        def answer() -> SongAnswer:
            with follower.model() as model:
                return listen(file.file, model, 60.0 * limits.minutes, hop, picture)

        answered = await to_thread.run_sync(answer, limiter=songs_at_a_time)
        metrics.song_seconds.inc(answered.seconds)
        return answered

    @app.get("/model", responses=refusals)
    async def model() -> ModelFacts:
        """Describes the model that answers, and what the server takes."""
        return _facts(follower.known(), limits)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    # --- TensorFlow Serving's REST API ---

    model_path = f"/v1/models/{tensorflow_serving.NAME}"

    def require(asked: int | None, served: "LoadedModel") -> None:
        if asked not in (None, served.version):
            reason = f"Servable not found for request: Specific({tensorflow_serving.NAME}, {asked})"
            raise HTTPException(404, f"{reason}; version {served.version} is served")

    @app.get(model_path, responses=refusals)
    @app.get(model_path + "/versions/{version}", responses=refusals)
    async def status(version: int | None = None) -> dict[str, Any]:
        """Tells which version is available."""
        require(version, served := follower.known())
        return tensorflow_serving.status(served.version)

    @app.get(model_path + "/metadata", responses=refusals)
    @app.get(model_path + "/versions/{version}/metadata", responses=refusals)
    async def metadata(version: int | None = None) -> dict[str, Any]:
        """Describes the signatures of the model."""
        require(version, served := follower.known())
        return tensorflow_serving.metadata(served.version, served.signature_def)

    @app.post(model_path + ":predict", responses=refusals, openapi_extra=tensorflow_serving.REQUEST_BODY)
    @app.post(
        model_path + "/versions/{version}:predict", responses=refusals, openapi_extra=tensorflow_serving.REQUEST_BODY
    )
    async def predict_instances(request: Request, version: int | None = None) -> Response:
        """Answers `instances` or `inputs` as the signature of the model does."""
        body = await request.body()

        def answer() -> Response:
            asked = tensorflow_serving.read_request(body)
            with follower.model() as served:
                require(version, served)
                items = asked.items(served.runtime.input_of(asked.signature))
                answers = [each.result() for each in served.runtime.submit(asked.signature, items)]
            written = json.dumps(tensorflow_serving.write_answer(asked, answers), ensure_ascii=False)
            return Response(written, media_type="application/json")

        return await run_in_threadpool(answer)

    # --- Operators ---

    @app.get("/healthz")
    async def alive() -> dict[str, str]:
        """Tells that the process works."""
        return {"status": "alive"}

    @app.get("/readyz", responses={503: {"model": Problem}})
    async def ready() -> dict[str, Any]:
        """Tells whether a model answers; 503 if none does. A model that does not load leaves the one before."""
        note = {"note": follower.problem} if follower.problem else {}
        return {"status": "ready", "version": follower.known().version} | note

    @app.get("/metrics")
    async def exposed() -> Response:
        """Tells figures in the text format of Prometheus."""
        metrics.version.set(follower.version or 0)
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return app


def _facts(model: "LoadedModel", limits: Limits) -> ModelFacts:
    card, verdict = model.card, model.verdict
    judged = None
    if verdict:
        of = verdict.on_golden or verdict
        figures = of.candidate
        judged = Accuracy(
            accuracy=figures.accuracy,
            interval=figures.accuracy_interval,
            macro_f1=figures.macro_f1,
            clips=figures.clips,
            golden=verdict.on_golden is not None,
        )
    return ModelFacts(
        version=model.version,
        kind=card.kind,
        parameters=card.parameters,
        genres=card.features.genres,
        sample_rate=card.features.audio.sample_rate,
        clip_seconds=card.features.audio.clip_seconds,
        window_seconds=round(model.windows[0][1] - model.windows[0][0], 3),
        trained_on=card.trained_on,
        judged=judged,
        limits=limits,
    )


def _tell_problems(app: FastAPI) -> None:
    """Has every error answered in one form: {"error": reason}."""

    def told(status: int) -> Any:
        async def answer(_: Request, error: Exception) -> JSONResponse:
            return refusal(status, str(error))

        return answer

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        reason = error.detail
        if error.status_code == 404 and reason == "Not Found":
            reason = f"Malformed request: {request.method} {request.scope['path']}"
        return refusal(error.status_code, reason, **(dict(error.headers or {})))

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        listed = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
        return refusal(422, listed)

    async def failed(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
        return refusal(500, "the server failed; its log says why")

    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(AudioError, told(422))
    app.add_exception_handler(TooLongError, told(413))
    app.add_exception_handler(UserError, told(422))
    app.add_exception_handler(NoModelError, told(503))
    app.add_exception_handler(SignatureError, told(400))
    app.add_exception_handler(RefusedError, told(400))
    app.add_exception_handler(tensorflow_serving.RequestError, told(400))
    app.add_exception_handler(Exception, failed)
