"""A version on its way behind a Vertex AI endpoint: what is served in the end, whatever happens on the way."""

import base64
import json
import re
import wave
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import google.auth
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.aiplatform_v1 import AcceleratorType
from google.oauth2.credentials import Credentials
from pydantic import ValidationError

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.base.errors import UserError
from components.google import endpoint as module
from components.google import retries
from components.google.config import EndpointConfig
from components.google.endpoint import Version, serve, settled, shared, smoke_instance
from components.google.machines import OFFERS, Finding

if TYPE_CHECKING:
    from tests.conftest import Asked, ScriptedService

Json = dict[str, Any]
Reply = tuple[int, Any]

GENRES = ("clicks", "noise", "tone")
FEATURES = FeatureConfig(
    representation="waveform", genres=GENRES, audio=AudioConfig(sample_rate=4000, clip_seconds=0.5), mel=MelConfig()
)
KEY = "projects/my-project/locations/europe-west4/keyRings/r/cryptoKeys/k"
PARENT = "projects/my-project/locations/europe-west4"
NUMBERED = "projects/4711/locations/europe-west4"
"""As Vertex AI has it in its answers."""
TYPES = "type.googleapis.com/google.cloud.aiplatform.v1."


def problem(code: int, status: str, message: str) -> Reply:
    return code, {"error": {"code": code, "status": status, "message": message}}


class Vertex:
    """The part of Vertex AI that serving touches, with what it would refuse; it answers at the service's address.

    An operation ends when it is looked at for the second time, or five requests later.
    """

    def __init__(self, service: "ScriptedService") -> None:
        self.url = service.url
        self.endpoints: dict[str, Json] = {}
        self.models: dict[str, list[Json]] = {}
        self.operations: dict[str, Json] = {}
        self.never_ends: set[str] = set()
        """Kinds of operations."""
        self.answer: Callable[[Json, bytes], Reply] = self.plain_answer
        self.asked: list[Asked] = service.asked
        self.late = False
        """Whether a change of the traffic takes its time."""
        self._instead: list[tuple[str, str, Reply]] = []
        self._always: list[tuple[str, str, Reply]] = []
        self._scripted = service.reply_to
        self._service = service
        self._predictions = 0
        service.reply_to = self.reply_to

    def instead(self, method: str, path: str, *replies: Reply) -> None:
        """Gives these replies, each once, before it answers by itself; `path` is without the query."""
        self._instead += [(method, path, reply) for reply in replies]

    def always(self, method: str, path: str, reply: Reply) -> None:
        self._always.append((method, path, reply))

    def requests(self, method: str, path: str) -> list["Asked"]:
        return [asked for asked in self.asked if self._is(asked, method, path)]

    @staticmethod
    def _is(asked: "Asked", method: str, path: str) -> bool:
        return asked.method == method and re.fullmatch(path, unquote(asked.path).partition("?")[0]) is not None

    def traffic(self, endpoint: str = "genre") -> dict[str, int]:
        """Percent by what is deployed, as people are shown it."""
        found = self.endpoints[endpoint]
        names = {deployed["id"]: deployed["displayName"] for deployed in found["deployedModels"]}
        return {names[key]: value for key, value in found["trafficSplit"].items()}

    def deployed(self, endpoint: str = "genre") -> list[str]:
        return [deployed["displayName"] for deployed in self.endpoints[endpoint]["deployedModels"]]

    def plain_answer(self, deployed: Json, example: bytes) -> Reply:
        assert b"RIFF" in example
        return 200, {"genres": list(GENRES), "probabilities": [0.25, 0.5, 0.25]}

    def reply_to(self, asked: "Asked") -> Reply:
        for operation in self.operations.values():
            operation["age"] += 1
            if operation["age"] > 5:
                self._end(operation)
        for item in self._instead + self._always:
            method, path, reply = item
            if self._is(asked, method, path):
                if item in self._instead:
                    self._instead.remove(item)
                self.asked.append(asked)
                return reply
        reply = self._scripted(asked)
        if asked not in self._service.unexpected:
            return reply
        path, _, query = unquote(asked.path).removeprefix("/v1/").partition("?")
        for method, pattern, handle in (
            ("GET", r"(.*)/operations", self._list),
            ("GET", r"(.*/operations/\d+)", self._look),
            ("POST", r"(.*/operations/\d+):cancel", self._cancel),
            ("GET", rf"{PARENT}/endpoints/([^/:]+)", self._get_endpoint),
            ("PATCH", rf"{PARENT}/endpoints/([^/:]+)", self._update),
            ("POST", rf"{PARENT}/endpoints", self._create),
            ("POST", rf"{PARENT}/endpoints/([^/:]+):deployModel", self._deploy),
            ("POST", rf"{PARENT}/endpoints/([^/:]+):undeployModel", self._undeploy),
            ("POST", rf"{PARENT}/endpoints/([^/:]+):predict", self._predict),
            ("GET", rf"{PARENT}/models/([^/:@]+)(@[^/:]+)?", self._get_model),
            ("POST", rf"{PARENT}/models:upload", self._upload),
        ):
            if asked.method == method and (match := re.fullmatch(pattern, path)):
                self._service.unexpected.remove(asked)
                return handle(asked.body, query, *match.groups())
        return reply

    # --- Operations ---

    def _start(self, place: str, kind: str, response: str, effect: Callable[[], Json]) -> Reply:
        name = f"{place}/operations/{len(self.operations) + 1}"
        self.operations[name] = {
            "kind": kind,
            "response": response,
            "effect": effect,
            "looks": 0,
            "age": 0,
            "end": None,
        }
        return self._look(None, "", name)

    def _look(self, body: None, query: str, name: str) -> Reply:
        operation = self.operations[name]
        operation["looks"] += 1
        if operation["looks"] > 1:
            self._end(operation)
        return 200, {"name": name, **(operation["end"] or {})}

    def _end(self, operation: Json) -> None:
        if operation["end"] is None and operation["kind"] not in self.never_ends:
            result = operation["effect"]()
            answer = {"@type": TYPES + operation["response"]} | result
            operation["end"] = {"done": True} | ({"error": result} if "code" in result else {"response": answer})

    def _list(self, body: None, query: str, place: str) -> Reply:
        of_it = [name for name in self.operations if name.startswith(place.replace(PARENT, NUMBERED) + "/")]
        return 200, {"operations": [self._look(None, "", name)[1] for name in of_it]}

    def _cancel(self, body: Json, query: str, name: str) -> Reply:
        self.operations[name]["end"] = {"done": True, "error": {"code": 1, "message": "cancelled"}}
        return 200, {}

    # --- Endpoints ---

    def add_endpoint(self, name: str) -> Json:
        self.endpoints[name] = {
            "name": f"{NUMBERED}/endpoints/{name}",
            "displayName": name,
            "deployedModels": [],
            "trafficSplit": {},
            "etag": "1",
        }
        return self.endpoints[name]

    def add_deployed(self, number: int, traffic: dict[str, int], model: str = "genre", endpoint: str = "genre") -> None:
        """Deploys a version of another day, and sets the traffic, by deployed model."""
        if endpoint not in self.endpoints:
            self.add_endpoint(endpoint)
        self.models.setdefault(model, []).append({"versionId": str(number), "versionAliases": [f"old-{number}"]})
        self.endpoints[endpoint]["deployedModels"].append(
            {
                "id": str(number),
                "model": f"{NUMBERED}/models/{model}",
                "modelVersionId": str(number),
                "displayName": f"{model}-{number}",
            }
        )
        self.endpoints[endpoint]["trafficSplit"] = traffic

    def _create(self, body: Json, query: str) -> Reply:
        name = re.search(r"endpointId=([^&]+)", query)[1]
        if name in self.endpoints:
            return problem(409, "ALREADY_EXISTS", "endpoint exists")
        assert body["dedicatedEndpointEnabled"] is True

        def effect() -> Json:
            # A scheme of its own, because this service has no certificate.
            self.add_endpoint(name)["dedicatedEndpointDns"] = self.url
            return {"name": f"{NUMBERED}/endpoints/{name}"}

        return self._start(f"{NUMBERED}/endpoints/{name}", "create", "Endpoint", effect)

    def _get_endpoint(self, body: None, query: str, name: str) -> Reply:
        if name not in self.endpoints:
            return problem(404, "NOT_FOUND", f"endpoint {name} is not found")
        return 200, self.endpoints[name]

    def _update(self, body: Json, query: str, name: str) -> Reply:
        assert "updateMask=trafficSplit" in query
        found = self.endpoints[name]
        if body["etag"] != found["etag"]:
            return problem(409, "ABORTED", "etag mismatch")
        split = {key: value for key, value in body.get("trafficSplit", {}).items() if value}
        if not set(split) <= {deployed["id"] for deployed in found["deployedModels"]}:
            return problem(400, "INVALID_ARGUMENT", "traffic for a model that is not deployed")
        if split and sum(split.values()) != 100:
            return problem(400, "INVALID_ARGUMENT", "the traffic does not add up to 100")
        found["trafficSplit"] = split
        found["etag"] += "1"
        self._predictions = 95
        return 200, found

    def _deploy(self, body: Json, query: str, name: str) -> Reply:
        deployed = body["deployedModel"]
        model, _, version = deployed["model"].rpartition("/")[2].partition("@")
        assert version in {each["versionId"] for each in self.models[model]}
        assert not body.get("trafficSplit"), "traffic before anybody has tried it"
        resources = deployed["dedicatedResources"]
        assert resources["machineSpec"]["machineType"] and resources["minReplicaCount"] >= 1

        def effect() -> Json:
            added = {
                **deployed,
                "id": str(900 + len(self.operations)),
                "model": f"{NUMBERED}/models/{model}",
                "modelVersionId": version,
            }
            self.endpoints[name]["deployedModels"].append(added)
            return {"deployedModel": added}

        return self._start(f"{NUMBERED}/endpoints/{name}", "deploy", "DeployModelResponse", effect)

    def _undeploy(self, body: Json, query: str, name: str) -> Reply:
        found, gone = self.endpoints[name], body["deployedModelId"]
        if found["trafficSplit"].get(gone):
            return problem(400, "FAILED_PRECONDITION", "it has traffic")

        def effect() -> Json:
            found["deployedModels"] = [each for each in found["deployedModels"] if each["id"] != gone]
            return {}

        return self._start(f"{NUMBERED}/endpoints/{name}", "undeploy", "UndeployModelResponse", effect)

    def _predict(self, body: Json, query: str, name: str) -> Reply:
        found = self.endpoints[name]
        if not found["trafficSplit"]:
            return problem(400, "FAILED_PRECONDITION", "the endpoint has no traffic_split")
        at, self._predictions = self._predictions % 100, self._predictions + 1
        for deployed in found["deployedModels"]:
            at -= found["trafficSplit"].get(deployed["id"], 0)
            if at < 0 or self.late:
                break
        (instance,) = body["instances"]
        status, answer = self.answer(deployed, base64.b64decode(instance["examples"]["b64"]))
        if status != 200:
            return status, answer
        return 200, {"predictions": [answer], "deployedModelId": deployed["id"]}

    # --- Models ---

    def _get_model(self, body: None, query: str, model: str, version: str | None) -> Reply:
        for found in self.models.get(model, ()):
            if version is None or version[1:] in (found["versionId"], *found["versionAliases"]):
                return 200, {"name": f"{NUMBERED}/models/{model}", **found}
        return problem(404, "NOT_FOUND", f"model {model}{version or ''} is not found")

    def _upload(self, body: Json, query: str) -> Reply:
        uploaded, model = body["model"], body.get("modelId") or body["parentModel"].rsplit("/", 1)[1]
        if body.get("parentModel") and model not in self.models:
            return problem(404, "NOT_FOUND", "no parent")
        if body.get("modelId") and model in self.models:
            return problem(409, "ALREADY_EXISTS", "model exists")
        assert all(re.fullmatch(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]", alias) for alias in uploaded["versionAliases"])
        assert uploaded["containerSpec"]["imageUri"] == "r/serving:1"

        def effect() -> Json:
            versions = self.models.setdefault(model, [])
            versions.append({**uploaded, "versionId": str(len(versions) + 1)})
            return {"model": f"{NUMBERED}/models/{model}", "modelVersionId": versions[-1]["versionId"]}

        return self._start(f"{NUMBERED}/models/{model}", "upload", "UploadModelResponse", effect)


@pytest.fixture
def vertex(service: "ScriptedService", monkeypatch: pytest.MonkeyPatch) -> Vertex:
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.01)
    return Vertex(service)


def roll_out(vertex: Vertex, number: int = 1, **settings: Any) -> str:
    version = Version("genre", number, f"candidate {number}", f"gs://b/models/{number}", FEATURES)
    config = EndpointConfig(**{"name": "genre", "image": "r/serving:1"} | settings)
    return serve(version, config, "my-project", "europe-west4", vertex.url, AnonymousCredentials())


def refused(vertex: Vertex, number: int = 1, **settings: Any) -> str:
    with pytest.raises(UserError) as refusal:
        roll_out(vertex, number, **settings)
    return str(refusal.value)


# --- What is served in the end -----------------------------------------------------------------------------------


def test_the_first_version_gets_an_endpoint_and_all_the_traffic(vertex: Vertex) -> None:
    assert roll_out(vertex) == f"{NUMBERED}/endpoints/genre"
    assert vertex.traffic() == {"genre-1": 100}
    (model,) = vertex.models["genre"]
    assert model["artifactUri"] == "gs://b/models/1"
    assert len(vertex.requests("POST", ".*:predict")) == 1


def test_the_second_takes_over_from_the_first_which_is_then_undeployed(vertex: Vertex) -> None:
    roll_out(vertex, 1)
    roll_out(vertex, 2)
    assert vertex.traffic() == {"genre-2": 100}
    assert vertex.deployed() == ["genre-2"]
    assert [model["artifactUri"] for model in vertex.models["genre"]] == ["gs://b/models/1", "gs://b/models/2"]


def test_a_version_is_tried_out_with_little_traffic(vertex: Vertex) -> None:
    roll_out(vertex, 1)
    seen = []

    def answer(deployed: Json, example: bytes) -> Reply:
        seen.append((deployed["displayName"], vertex.traffic()))
        return vertex.plain_answer(deployed, example)

    vertex.answer = answer
    roll_out(vertex, 2)
    assert all(traffic == {"genre-1": 99, "genre-2": 1} for _, traffic in seen)
    assert [name for name, _ in seen].count("genre-2") == 1 and seen[-1][0] == "genre-2" and len(seen) > 1


def test_a_canary_leaves_the_rest_with_the_first(vertex: Vertex) -> None:
    roll_out(vertex, 1)
    roll_out(vertex, 2, traffic=10)
    assert vertex.traffic() == {"genre-1": 90, "genre-2": 10}
    roll_out(vertex, 2, traffic=100)  # somebody has watched it for a while
    assert vertex.traffic() == {"genre-2": 100} and vertex.deployed() == ["genre-2"]
    assert len(vertex.models["genre"]) == 2


def test_a_canary_after_a_canary_does_not_pile_up(vertex: Vertex) -> None:
    for number in (1, 2, 3):
        roll_out(vertex, number, traffic=20)
    assert vertex.traffic() == {"genre-1": 80, "genre-3": 20}
    assert vertex.deployed() == ["genre-1", "genre-3"]


def test_models_of_others_keep_their_place(vertex: Vertex) -> None:
    vertex.add_deployed(1, {"1": 100}, model="by-hand")
    roll_out(vertex, 2)
    assert vertex.traffic() == {"genre-2": 100}
    assert vertex.deployed() == ["by-hand-1", "genre-2"]


def test_once_more_changes_nothing(vertex: Vertex) -> None:
    for _ in range(2):
        roll_out(vertex)
    assert vertex.traffic() == {"genre-1": 100}
    assert len(vertex.models["genre"]) == len(vertex.requests("POST", ".*:deployModel")) == 1


def test_other_machines_are_deployed_beside_the_old_ones(vertex: Vertex) -> None:
    roll_out(vertex)
    roll_out(vertex, machine_type="g2-standard-8", accelerator="NVIDIA_L4")
    (deployed,) = vertex.endpoints["genre"]["deployedModels"]
    machine = deployed["dedicatedResources"]["machineSpec"]
    assert (machine["machineType"], machine["acceleratorCount"]) == ("g2-standard-8", 1)
    assert len(vertex.models["genre"]) == 1
    assert vertex.traffic() == {"genre-1": 100}


def test_an_endpoint_that_somebody_has_made(vertex: Vertex) -> None:
    vertex.add_endpoint("123456789")
    roll_out(vertex, name="123456789")
    assert vertex.traffic("123456789") == {"genre-1": 100}
    assert vertex.requests("POST", f"/v1/{PARENT}/endpoints") == []


# --- What goes wrong ---------------------------------------------------------------------------------------------

WRONG = {
    "other genres": (200, {"genres": ["a", "b", "c"], "probabilities": [0.25, 0.5, 0.25]}),
    "no distribution": (200, {"genres": list(GENRES), "probabilities": [0.25, 0.5, 0.75]}),
    "server error": problem(500, "INTERNAL", "the model server fell over"),
    "bad request": problem(400, "INVALID_ARGUMENT", "no such signature"),
}


@pytest.mark.parametrize("traffic", [100, 10])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_version_that_fails_its_smoke_request_gets_no_traffic(vertex: Vertex, wrong: str, traffic: int) -> None:
    vertex.add_deployed(1, {"1": 70, "2": 30})
    vertex.add_deployed(2, {"1": 70, "2": 30})

    def answer(deployed: Json, example: bytes) -> Reply:
        return WRONG[wrong] if deployed["displayName"] == "genre-3" else vertex.plain_answer(deployed, example)

    vertex.answer = answer
    told = refused(vertex, 3, traffic=traffic)
    assert "genre-3 has failed its smoke request" in told
    assert "The traffic is as it was. The endpoint genre serves: genre-1 with 70 %, genre-2 with 30 %." in told
    assert vertex.traffic() == {"genre-1": 70, "genre-2": 30}
    assert vertex.deployed() == ["genre-1", "genre-2"]


def test_a_first_version_that_fails_leaves_an_endpoint_without_traffic(vertex: Vertex) -> None:
    vertex.answer = lambda *_: WRONG["no distribution"]
    assert "not one for each genre, with a sum of 1: [0.25, 0.5, 0.75]" in (told := refused(vertex))
    assert "serves: nothing" in told
    assert (vertex.traffic(), vertex.deployed()) == ({}, [])
    vertex.answer = vertex.plain_answer
    roll_out(vertex)  # the same version, once what was wrong is mended
    assert vertex.traffic() == {"genre-1": 100} and len(vertex.models["genre"]) == 1


def test_a_version_that_never_answers(vertex: Vertex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMOKE_SECONDS", 0.3)
    vertex.add_deployed(1, {"1": 100})
    vertex.late = True
    told = refused(vertex, 2)
    assert re.search(r"none of \d+ requests in 0.3 s was answered by it", told)
    assert vertex.traffic() == {"genre-1": 100} and vertex.deployed() == ["genre-1"]


def test_a_deployment_that_never_ends(vertex: Vertex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEPLOY_SECONDS", 0.2)
    vertex.add_deployed(1, {"1": 100})
    vertex.never_ends = {"deploy"}
    told = refused(vertex, 2)
    assert "has not ended within 0.2 s" in told
    assert "The endpoint genre serves: genre-1 with 100 %." in told
    assert len(vertex.requests("POST", ".*:cancel")) == 1
    assert vertex.traffic() == {"genre-1": 100} and vertex.deployed() == ["genre-1"]


def test_a_deployment_that_cannot_even_be_cancelled(vertex: Vertex, monkeypatch: pytest.MonkeyPatch) -> None:
    vertex.never_ends = {"deploy"}
    vertex.always("POST", ".*:cancel", problem(400, "FAILED_PRECONDITION", "not cancellable"))
    with monkeypatch.context() as short:
        short.setattr(module, "DEPLOY_SECONDS", 0.2)
        told = refused(vertex)
    assert "genre/operations/3 has not ended yet: should it still deploy the version" in told
    vertex.never_ends = set()  # it comes to its end after all
    roll_out(vertex)
    assert vertex.traffic() == {"genre-1": 100} and vertex.deployed() == ["genre-1"]


def test_a_deployment_that_fails(vertex: Vertex) -> None:
    vertex.add_deployed(1, {"1": 100})
    start = vertex._start

    def failing(place: str, kind: str, response: str, effect: Callable[[], Json]) -> Reply:
        error = {"code": 8, "message": "no machine of that type is free"}
        return start(place, kind, response, (lambda: error) if kind == "deploy" else effect)

    vertex._start = failing
    told = refused(vertex, 2)
    assert "genre-2 cannot be deployed: no machine of that type is free. A quota is used up" in told
    assert vertex.traffic() == {"genre-1": 100}


@pytest.mark.parametrize(
    ("method", "path", "what"),
    [
        ("GET", ".*/endpoints/genre", "endpoint genre cannot be had"),
        ("POST", ".*models:upload", "cannot be put into the model registry"),
        ("POST", ".*:deployModel", "cannot be deployed"),
        ("POST", ".*:predict", "has failed its smoke request"),
    ],
)
def test_without_permission(vertex: Vertex, method: str, path: str, what: str) -> None:
    vertex.add_deployed(1, {"1": 100})
    vertex.always(method, path, problem(403, "PERMISSION_DENIED", "Permission 'aiplatform.x' denied"))
    told = refused(vertex, 2)
    assert what in told and "Permission 'aiplatform.x' denied" in told
    assert "Grant the role roles/aiplatform.user in project my-project to the service account" in told
    assert vertex.traffic() == {"genre-1": 100} and vertex.deployed() == ["genre-1"]


def test_an_endpoint_that_is_not_there(vertex: Vertex) -> None:
    told = refused(vertex, name="123456789")
    assert "endpoint 123456789 cannot be had: there is none" in told and "vertex.endpoint.name" in told
    assert vertex.models == {} and vertex.requests("POST", ".*") == []


def test_too_many_requests_are_waited_out(vertex: Vertex) -> None:
    busy = problem(429, "RESOURCE_EXHAUSTED", "too many requests")
    for method, path in (("GET", ".*/endpoints/genre"), ("POST", ".*:deployModel"), ("POST", ".*:predict")):
        vertex.instead(method, path, busy)
    roll_out(vertex)
    assert vertex.traffic() == {"genre-1": 100}
    assert len(vertex.models["genre"]) == 1 and vertex.deployed() == ["genre-1"]


def test_too_many_requests_for_too_long(vertex: Vertex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHANGING", module.CHANGING.with_timeout(0.0))
    vertex.add_deployed(1, {"1": 100})
    vertex.instead("POST", ".*:deployModel", problem(429, "RESOURCE_EXHAUSTED", "quota of CPUs exceeded"))
    told = refused(vertex, 2)
    assert "genre-2 cannot be deployed: quota of CPUs exceeded. A quota is used up: request a larger quota" in told
    assert vertex.traffic() == {"genre-1": 100}


def test_somebody_else_moves_the_traffic_meanwhile(vertex: Vertex) -> None:
    vertex.add_deployed(1, {"1": 100})
    vertex.instead("PATCH", ".*", problem(409, "ABORTED", "etag mismatch"))
    assert "etag mismatch" in refused(vertex, 2)
    assert vertex.traffic() == {"genre-1": 100} and vertex.deployed() == ["genre-1"]


def test_rolling_back_does_not_give_way_to_somebody_else(vertex: Vertex) -> None:
    vertex.add_deployed(1, {"1": 100})

    def answer(deployed: Json, example: bytes) -> Reply:
        vertex.instead("PATCH", ".*", problem(409, "ABORTED", "etag mismatch"))
        return WRONG["server error"]

    vertex.answer = answer
    assert "The traffic is as it was" in refused(vertex, 2)
    assert vertex.traffic() == {"genre-1": 100} and vertex.deployed() == ["genre-1"]


def test_rolling_back_that_fails_tells_what_to_do(vertex: Vertex) -> None:
    vertex.add_deployed(1, {"1": 100})

    def answer(deployed: Json, example: bytes) -> Reply:
        vertex.always("PATCH", ".*", problem(403, "PERMISSION_DENIED", "no more"))
        return WRONG["server error"]

    vertex.answer = answer
    told = refused(vertex, 2)
    assert "the model server fell over" in told
    assert "Rolling back has failed, too: " in told and "give its traffic to {'1': 100}" in told


def test_what_cannot_be_undeployed_does_not_take_the_new_one_down(vertex: Vertex) -> None:
    vertex.add_deployed(1, {"1": 100})
    vertex.instead("POST", ".*:undeployModel", problem(400, "FAILED_PRECONDITION", "it is being watched"))
    told = refused(vertex, 2)
    assert "genre-2 serves, but what it has replaced cannot be undeployed, and costs on: " in told
    assert vertex.traffic() == {"genre-2": 100}
    roll_out(vertex, 2)
    assert vertex.deployed() == ["genre-2"]


# --- Killed, and started again -----------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone: nothing of it, no cleaning up either, comes after."""


@pytest.mark.parametrize("before", [True, False], ids=["before it arrives", "after it arrived"])
@pytest.mark.parametrize(
    "request_", ["POST /v1/.*/endpoints", "POST .*:upload", "POST .*:deployModel", "PATCH .*", "POST .*:predict"]
)
def test_killed_and_started_again(vertex: Vertex, monkeypatch: pytest.MonkeyPatch, request_: str, before: bool) -> None:
    """Killed at a request of the first attempt; another time, at a later request of the kind, of the second version."""
    method, pattern = request_.split(" ")
    send = requests.Session.request

    def killed(session: Any, verb: str, url: str, *args: Any, **named: Any) -> Any:
        if verb.upper() == method and re.fullmatch(pattern, url.removeprefix(vertex.url)):
            if not before:
                send(session, verb, url, *args, **named)
            raise Killed
        return send(session, verb, url, *args, **named)

    for number in (1, 2):
        if (number, request_) == (2, "POST /v1/.*/endpoints"):
            return  # there is one by then
        with monkeypatch.context() as patch:
            patch.setattr(requests.Session, "request", killed)
            with pytest.raises(Killed):
                roll_out(vertex, number)
        roll_out(vertex, number)
        assert vertex.traffic() == {f"genre-{number}": 100}
        assert vertex.deployed() == [f"genre-{number}"]
        assert len(vertex.models["genre"]) == number
        assert len(vertex.endpoints) == 1


def test_what_a_killed_attempt_had_given_is_given_back(vertex: Vertex) -> None:
    """It had 1 % for its smoke request, which the next attempt finds it to fail."""
    vertex.add_deployed(1, {"1": 100})
    roll_out(vertex, 2, traffic=1)
    assert vertex.traffic() == {"genre-1": 99, "genre-2": 1}
    vertex.answer = lambda *_: WRONG["other genres"]
    refused(vertex, 2)
    assert vertex.traffic() == {"genre-1": 100}


# --- Parts -------------------------------------------------------------------------------------------------------


def test_shares_of_the_traffic() -> None:
    assert shared({}, "new", 1) == {"new": 100}
    assert shared({"new": 100}, "new", 0) == {}
    assert shared({"a": 90, "b": 10}, "new", 1) == {"a": 89, "b": 10, "new": 1}
    assert shared({"a": 89, "b": 10, "new": 1}, "new", 0) == {"a": 90, "b": 10}
    assert shared({"a": 100, "b": 0}, "new", 5) == {"a": 95, "new": 5}
    assert settled({}, "new", 10) == {"new": 100}
    assert settled({"a": 90, "b": 10}, "new", 20) == {"a": 80, "new": 20}
    assert settled({"a": 90, "b": 10}, "new", 100) == {"new": 100}


def test_the_smoke_request_is_a_short_wav() -> None:
    example = base64.b64decode(smoke_instance(FEATURES.audio)["examples"]["b64"])
    with wave.open(BytesIO(example[example.index(b"RIFF") :])) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate(), wav.getnframes()) == (1, 2, 4000, 2000)
        assert any(wav.readframes(2000))
    assert len(json.dumps(smoke_instance(AudioConfig(sample_rate=44100)))) < 1_500_000


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "-genre"}, "name"),
        ({"max_replicas": 2, "min_replicas": 3}, "max_replicas 2 is less than min_replicas 3"),
        ({"traffic": 101}, "traffic"),
        ({"accelerator": "nvidia.com/gpu"}, "accelerator nvidia.com/gpu is none of NVIDIA_TESLA_P4"),
        ({"accelerator": "NVIDIA_L4"}, "n1-standard-4 cannot have 1 of NVIDIA_L4; choose g2-standard-4"),
        ({"accelerator": "NVIDIA_L4", "accelerators": 3}, "no machine has 3 of NVIDIA_L4; choose 1 or 2 or 4 or 8"),
        ({"accelerator": "NVIDIA_B200"}, "no machine has 1 of NVIDIA_B200; choose 8"),
        ({"machine_type": "ct6e-standard-4t", "accelerator": "TPU_V3"}, "has its TPUs without being asked"),
        ({"machine_type": "g2-standard-24"}, "g2-standard-24 has 2 of NVIDIA_L4: set"),
        ({"machine_type": "ct6e-standard-4t", "image": None}, "image: missing. Vertex AI's containers for TensorFlow"),
    ],
)
def test_settings_that_vertex_ai_would_refuse(changes: Json, told: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(told)):
        EndpointConfig(**{"name": "genre", "image": "r/serving:1"} | changes)


def test_machines_of_every_series() -> None:
    """Those without a number of their own have it in their name."""
    for machine, accelerator, count in (
        ("a3-megagpu-8g", "NVIDIA_H100_MEGA_80GB", 8),
        ("a3-ultragpu-8g", "NVIDIA_H200_141GB", 8),
        ("a4-highgpu-8g", "NVIDIA_B200", 8),
    ):
        config = EndpointConfig(
            name="genre", image="r", machine_type=machine, accelerator=accelerator, accelerators=count
        )
        assert config.finding == Finding()
        assert accelerator in AcceleratorType.__members__
        assert config.tpu_topology == ""
    for machine, topology in (
        ("ct5lp-hightpu-1t", "1x1"),
        ("ct5lp-hightpu-8t", "2x4"),
        ("ct6e-standard-1t", "1x1"),
        ("ct6e-standard-4t", "2x2"),
    ):
        assert EndpointConfig(name="genre", image="r", machine_type=machine).tpu_topology == topology


def test_the_image_of_a_machine() -> None:
    gpu = {"machine_type": "g2-standard-8", "accelerator": "NVIDIA_L4"}
    assert EndpointConfig(name="genre").container == "us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"
    assert EndpointConfig(name="genre", **gpu).container == "us-docker.pkg.dev/vertex-ai/prediction/tf2-gpu.2-15:latest"
    assert EndpointConfig(name="genre", image="r/s:1", **gpu).container == "r/s:1"


def test_every_accelerator_of_the_table_has_the_name_that_vertex_ai_gives_it() -> None:
    assert {offer.accelerator for offer in OFFERS} <= set(AcceleratorType.__members__)


def test_a_machine_with_tpus_is_asked_for_with_its_topology(vertex: Vertex) -> None:
    roll_out(vertex, machine_type="ct6e-standard-4t")
    (asked,) = vertex.requests("POST", ".*:deployModel")
    machine = asked.body["deployedModel"]["dedicatedResources"]["machineSpec"]
    assert machine == {"machineType": "ct6e-standard-4t", "tpuTopology": "2x2"}


def test_an_endpoint_that_is_peered_with_a_network_is_left_as_it_is(vertex: Vertex) -> None:
    roll_out(vertex)
    vertex.endpoints["genre"]["network"] = "projects/4711/global/networks/vpc"
    told = refused(vertex, 2)
    assert "it is peered with projects/4711/global/networks/vpc" in told and "no traffic split" in told
    assert vertex.traffic() == {"genre-1": 100}


def test_endpoint_and_model_are_encrypted_with_a_key_of_ones_own(vertex: Vertex) -> None:
    version = Version("genre", 1, "candidate 1", "gs://b/models/1", FEATURES)
    config = EndpointConfig(name="genre", image="r/serving:1")

    def served_with(key: str | None) -> str:
        return serve(
            version, config, "my-project", "europe-west4", vertex.url, AnonymousCredentials(), encryption_key=key
        )

    served_with(KEY)
    for path, name in ((".*/endpoints", None), (".*/models:upload", "model")):
        (asked,) = vertex.requests("POST", path)
        assert (asked.body[name] if name else asked.body)["encryptionSpec"] == {"kmsKeyName": KEY}
    vertex.endpoints["genre"]["encryptionSpec"] = {"kmsKeyName": KEY}
    served_with(KEY)
    served_with(None)  # whoever made it wanted the key
    with pytest.raises(UserError, match=r"encrypted with .*/k, not with .*/other \(vertex\.encryption_key\)"):
        served_with(f"{KEY[:-1]}other")
    del vertex.endpoints["genre"]["encryptionSpec"]
    with pytest.raises(UserError, match="encrypted with keys of Google, not with"):
        served_with(KEY)


# --- The node ----------------------------------------------------------------------------------------------------


class Account(Credentials):
    """Credentials of a service account; the real ones would ask the Internet where they may be used."""

    service_account_email = "genre@my-project.iam.gserviceaccount.com"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> str:
    """The service account that the node runs as."""
    monkeypatch.setattr(google.auth, "default", lambda scopes: (Account("secret"), "my-project"))
    return Account.service_account_email


def run_node(vertex: Vertex, pushed: Path | None) -> Json:
    """Runs EndpointPusher after StorePusher has pushed to `pushed`, or nothing."""
    from tfx.types import standard_artifacts

    from components.nodes.endpoint_pusher import EndpointPusher
    from components.nodes.parameters.endpoint_pusher import EndpointParameters

    pushed_model, served_model = standard_artifacts.PushedModel(), standard_artifacts.PushedModel()
    pushed_model.set_int_custom_property("pushed", int(pushed is not None))
    if pushed is not None:
        pushed_model.set_string_custom_property("pushed_destination", str(pushed))
        pushed_model.set_string_custom_property("pushed_version", pushed.name)
    parameters = EndpointParameters(
        model="genre",
        endpoint=EndpointConfig(name="genre", image="r/serving:1"),
        project="my-project",
        region="europe-west4",
        api=vertex.url,
        encryption_key=None,
        code="",
    )
    executor = EndpointPusher.EXECUTOR_SPEC.executor_class()
    executor.Do(
        {"pushed_model": [pushed_model]}, {"served_model": [served_model]}, {"parameters": parameters.model_dump_json()}
    )
    return {
        "pushed": served_model.get_int_custom_property("pushed"),
        "pushed_destination": served_model.get_string_custom_property("pushed_destination"),
        "pushed_version": served_model.get_string_custom_property("pushed_version"),
    }


@pytest.fixture
def pushed(tmp_path: Path, export_model: Callable[..., Path]) -> Path:
    """A model as it is exported, pushed to a store."""
    from etils import epath

    from components.store.model_store import Lineage, publish

    exported = export_model(tmp_path / "exported", FEATURES)
    store = epath.Path(tmp_path / "models")
    publish(store, epath.Path(exported), Lineage(candidate="c", parent=None, data="/data", span=1, window=(1,)))
    return Path(store / "1")


def as_tensorflow_serving(vertex: Vertex) -> Callable[[Json, bytes], Reply]:
    """Answers with the SavedModel that was registered, by its default signature, row by row."""
    import tensorflow as tf

    def answer(deployed: Json, example: bytes) -> Reply:
        (model,) = [each for each in vertex.models["genre"] if each["versionId"] == deployed["modelVersionId"]]
        signature = tf.saved_model.load(model["artifactUri"]).signatures["serving_default"]
        outputs = signature(examples=tf.constant([example]))
        genres = [name.decode() for name in outputs["genres"][0].numpy()]
        return 200, {"genres": genres, "probabilities": outputs["probabilities"][0].numpy().tolist()}

    return answer


def test_the_node_serves_a_real_model(vertex: Vertex, account: str, pushed: Path) -> None:
    vertex.answer = as_tensorflow_serving(vertex)
    said = run_node(vertex, pushed)
    assert said == {"pushed": 1, "pushed_destination": f"{NUMBERED}/endpoints/genre", "pushed_version": "1"}
    assert vertex.traffic() == {"genre-1": 100}
    assert vertex.models["genre"][0]["artifactUri"] == str(pushed)
    assert {asked.headers["authorization"] for asked in vertex.asked} == {"Bearer secret"}


def test_the_node_names_the_account_that_lacks_a_role(vertex: Vertex, account: str, pushed: Path) -> None:
    vertex.always("POST", ".*models:upload", problem(403, "PERMISSION_DENIED", "denied"))
    with pytest.raises(UserError, match=re.escape(f"to the service account ({account};")):
        run_node(vertex, pushed)


def test_the_node_does_nothing_where_nothing_was_pushed(vertex: Vertex, account: str) -> None:
    assert run_node(vertex, None)["pushed"] == 0
    assert vertex.asked == []


def test_the_node_does_not_serve_what_another_run_has_superseded(vertex: Vertex, account: str, pushed: Path) -> None:
    (pushed.parent / "2").mkdir()
    (pushed.parent / "current.json").write_text('{"version": 2}')
    with pytest.raises(UserError, match="version 2 has been pushed since"):
        run_node(vertex, pushed)
    assert vertex.asked == []
