"""Serves a new version from a Vertex AI endpoint: deploys it beside what serves, tries it out, then moves the traffic.

`predict` follows the endpoint's traffic split and cannot name a deployed model. (`explain` can, for models with an
explanation spec; `invoke` can, for models that are closed to `predict`.) So a version is deployed without traffic, then
gets a small share, and the smoke request is repeated until an answer comes from that version.

If anything fails on the way, the traffic goes back to where it was and the version is undeployed. If an attempt is
killed, the next one finds and finishes what it left, from an operation under way to a share of the traffic.
"""

import base64
import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import requests
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import (
    Conflict,
    FailedPrecondition,
    NotFound,
    ServiceUnavailable,
    TooManyRequests,
    from_grpc_status,
    from_http_response,
)
from google.api_core.operation import Operation
from google.api_core.operations_v1 import AbstractOperationsClient
from google.api_core.operations_v1.transports.rest import OperationsRestTransport
from google.api_core.retry import Retry, if_exception_type
from google.auth.credentials import Credentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud.aiplatform_v1 import (
    AcceleratorType,
    DedicatedResources,
    DeployedModel,
    DeployModelResponse,
    EncryptionSpec,
    Endpoint,
    EndpointServiceClient,
    MachineSpec,
    Model,
    ModelContainerSpec,
    ModelServiceClient,
)
from google.longrunning import operations_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from components.audio.config import AudioConfig, FeatureConfig
from components.base.errors import UserError
from components.google.client import FAILURES, default_credentials, explained
from components.google.config import EndpointConfig
from components.google.retries import (
    CHANGING,
    PATIENCE_SECONDS,
    READING,
    REQUEST_SECONDS,
    PendingError,
    until_done,
)
from components.store.smoke import check_answer, smoke_example

SMOKE_TRAFFIC = 1
"""Traffic for a version while it is tried out, in percent."""
SMOKE_SECONDS = 600.0
"""Longest wait for the answer of a version to the smoke request."""
DEPLOY_SECONDS = 3600.0
"""Longest time for a deployment, and for an undeployment."""

Split = dict[str, int]
"""Traffic in percent, by id of a deployed model."""


@dataclass(frozen=True)
class Version:
    """A version of the model store that is to be served."""

    model: str
    """Id of the model in Vertex AI's registry, which has all of its versions."""
    number: int
    candidate: str
    """Digest of everything that determined it; see `Lineage`."""
    saved_model: str
    """Address of the directory of the SavedModel."""
    features: FeatureConfig

    @property
    def name(self) -> str:
        """Name for people."""
        return f"{self.model}-{self.number}"


def shared(split: Split, deployed: str, share: int) -> Split:
    """Returns `split` with `share` percent for `deployed`: taken from the model that has most, or given back to it.

    If no other model has traffic, `deployed` gets all of it; with a share of 0 the result is empty.
    """
    rest = {key: value for key, value in split.items() if value and key != deployed}
    if not rest:
        return {deployed: 100} if share else {}
    most = max(rest, key=lambda key: rest[key])
    rest[most] += 100 - share - sum(rest.values())
    return {**rest, deployed: share} if share else rest


def settled(split: Split, deployed: str, share: int) -> Split:
    """Returns the traffic after a successful trial: `share` percent for `deployed`, the rest for the largest."""
    rest = {key: value for key, value in split.items() if value and key != deployed}
    if not rest or share == 100:
        return {deployed: 100}
    return {max(rest, key=lambda key: rest[key]): 100 - share, deployed: share}


def smoke_instance(audio: AudioConfig) -> dict[str, Any]:
    """Returns one instance for the signature `serving_default`."""
    return {"examples": {"b64": base64.b64encode(smoke_example(audio)).decode()}}


def serve(
    version: Version,
    config: EndpointConfig,
    project: str,
    region: str,
    api: str,
    credentials: Credentials | None = None,
    *,
    encryption_key: str | None = None,
) -> str:
    """Serves `version` from the endpoint that `config` describes.

    Args:
      version: the version to serve.
      config: section `vertex.endpoint`.
      project: id of the project on Google Cloud.
      region: region of the endpoint and of the model registry.
      api: URL of Vertex AI there.
      credentials: None: Application Default Credentials.
      encryption_key: name of the key that encrypts endpoint and model; None: Google's keys.

    Returns:
      Resource name of the endpoint.

    Raises:
      UserError: the deployment failed; the message has the reason, and what is served now.
    """
    key = EncryptionSpec(kms_key_name=encryption_key) if encryption_key else None
    return _Rollout(version, config, project, region, api, credentials or default_credentials(), key).run()


class _Rollout:
    """One version on its way to the users."""

    def __init__(
        self,
        version: Version,
        config: EndpointConfig,
        project: str,
        region: str,
        api: str,
        credentials: Credentials,
        encryption: EncryptionSpec | None,
    ) -> None:
        options = ClientOptions(api_endpoint=api)
        self._endpoints = EndpointServiceClient(transport="rest", client_options=options, credentials=credentials)
        self._models = ModelServiceClient(transport="rest", client_options=options, credentials=credentials)
        # The operations clients of the other two send requests below /ui, which the API does not document.
        self._operations = AbstractOperationsClient(
            transport=OperationsRestTransport(host=api, credentials=credentials)
        )
        self._version = version
        self._config = config
        self._project = project
        self._api = api
        self._credentials = credentials
        self._encryption = encryption
        self._parent = f"projects/{project}/locations/{region}"
        self._name = f"{self._parent}/endpoints/{config.name}"

    def run(self) -> str:
        """See `serve`."""
        what = self._version.name
        with self._naming(f"endpoint {self._config.name} cannot be had"):
            endpoint = self._found_or_made()
        with self._naming(f"{what} cannot be put into the model registry"):
            model = self._registered()
        deployed = self._mine(endpoint, model)
        before = shared(dict(endpoint.traffic_split), deployed, 0)
        try:
            with self._naming(f"{what} cannot be deployed"):
                deployed = deployed or self._deploy(model)
            with self._naming(f"{what} cannot be given traffic to try it out"):
                self._move(lambda now: shared(now, deployed, max(SMOKE_TRAFFIC, now.get(deployed, 0))))
            with self._naming(f"{what} has failed its smoke request"):
                self._try_out(deployed)
            with self._naming(f"{what} has passed its smoke request, but the traffic cannot be moved"):
                self._move(lambda _: settled(before, deployed, self._config.traffic))
        except UserError as error:
            raise UserError(f"{str(error).rstrip('.')}.\n{self._roll_back(before, model, deployed)}") from error
        except Exception as error:
            error.add_note(self._roll_back(before, model, deployed))
            raise
        with self._naming(f"{what} serves, but what it has replaced cannot be undeployed, and costs on"):
            self._retire(deployed)
        print(f"endpoint {self._config.name} serves: {self._served()}", flush=True)
        return endpoint.name

    # --- The steps ---

    def _found_or_made(self) -> Endpoint:
        self._wait_for_others(self._name, DEPLOY_SECONDS)
        try:
            return self._usable(self._endpoint())
        except NotFound as error:
            if self._config.name.isdigit():
                raise UserError(
                    f"there is none in this region of project {self._project}. Set vertex.endpoint.name to one "
                    "that there is, or to a name that begins with a letter: it is created then."
                ) from error
        # A dedicated endpoint takes requests of 10 MB; the shared ones 1.5 MB, which a clip of 30 s in base64 exceeds.
        made = Endpoint(
            display_name=self._config.name, dedicated_endpoint_enabled=True, encryption_spec=self._encryption
        )
        self._finish(
            self._endpoints.create_endpoint(
                parent=self._parent,
                endpoint=made,
                endpoint_id=self._config.name,
                retry=CHANGING,
                timeout=REQUEST_SECONDS,
            )
        )
        return self._endpoint()

    def _usable(self, endpoint: Endpoint) -> Endpoint:
        """Checks that a found endpoint splits traffic and is encrypted as configured, which cannot be changed."""
        if endpoint.network:
            raise UserError(
                f"it is peered with {endpoint.network}: such an endpoint has one model and no traffic split, so no "
                "version can be tried out before it serves. Set vertex.endpoint.name to another one."
            )
        ours = self._encryption.kms_key_name if self._encryption else ""
        if ours and endpoint.encryption_spec.kms_key_name != ours:
            raise UserError(
                f"it is encrypted with {endpoint.encryption_spec.kms_key_name or 'keys of Google'}, not with {ours} "
                "(vertex.encryption_key). Set vertex.endpoint.name to another one; it is created with that key."
            )
        return endpoint

    def _registered(self) -> Model:
        """The version in the model registry, which is put there if it is not."""
        name = f"{self._parent}/models/{self._version.model}"
        self._wait_for_others(name, DEPLOY_SECONDS)
        # By what it is, not by its number: another workspace has a version of that number, too.
        digest = hashlib.sha256(f"{self._version.candidate} {self._config.container}".encode()).hexdigest()[:16]
        alias = f"v{self._version.number}-{digest}"
        if found := self._model(f"{name}@{alias}"):
            return found
        parent = self._model(name)
        self._finish(
            self._models.upload_model(
                {
                    "parent": self._parent,
                    "parent_model": parent.name if parent else "",
                    "model_id": "" if parent else self._version.model,
                    "model": Model(
                        display_name=self._version.model,
                        version_aliases=[alias],
                        version_description=f"version {self._version.number} of the model store",
                        artifact_uri=self._version.saved_model,
                        container_spec=ModelContainerSpec(image_uri=self._config.container),
                        encryption_spec=self._encryption,
                    ),
                },
                retry=CHANGING,
                timeout=REQUEST_SECONDS,
            )
        )
        return self._models.get_model(name=f"{name}@{alias}", retry=READING, timeout=REQUEST_SECONDS)

    def _deploy(self, model: Model) -> str:
        """Deploys `model` without traffic; returns the id of the deployed model."""
        operation = self._endpoints.deploy_model(
            endpoint=self._name,
            deployed_model=DeployedModel(
                model=f"{model.name}@{model.version_id}",
                display_name=self._version.name,
                dedicated_resources=self._resources(),
            ),
            retry=CHANGING,
            timeout=REQUEST_SECONDS,
        )
        try:
            ended = self._finish(operation)
        except TimeoutError:
            with suppress(*FAILURES):  # the error to report is that it did not end in time
                self._operations.cancel_operation(operation.operation.name, retry=READING, timeout=REQUEST_SECONDS)
            raise
        answer = DeployModelResponse.pb(DeployModelResponse())
        ended.response.Unpack(answer)
        return answer.deployed_model.id

    def _try_out(self, deployed: str) -> None:
        """Sends the smoke request until `deployed` has answered it, and checks the answer."""
        # Not by PredictionServiceClient: its `$alt` in the query is not known everywhere (python-aiplatform#5467).
        session = AuthorizedSession(self._credentials)
        address = self._endpoint().dedicated_endpoint_dns or self._api
        url = f"{address if '://' in address else f'https://{address}'}/v1/{self._name}:predict"
        body = {"instances": [smoke_instance(self._version.features.audio)]}

        # The address of a new endpoint is not known everywhere at once.
        later = if_exception_type(TooManyRequests, ServiceUnavailable, requests.ConnectionError)

        @CHANGING.with_predicate(later).with_timeout(SMOKE_SECONDS)
        def ask() -> dict[str, Any]:
            response = session.post(url, json=body, timeout=REQUEST_SECONDS)
            if response.status_code >= 400:
                raise from_http_response(response)
            return response.json()

        sent = itertools.count(1)

        def asked() -> dict[str, Any]:
            answer, number = ask(), next(sent)
            if answer.get("deployedModelId") != deployed:
                raise PendingError(f"none of {number} requests in {SMOKE_SECONDS:g} s was answered by it")
            return answer

        # Without a pause: its small share of the traffic takes about 100 requests.
        answer = until_done(asked, SMOKE_SECONDS, longest_wait=0.0)
        check_answer(answer.get("predictions", []), self._version.features.genres)

    def _retire(self, deployed: str) -> None:
        """Undeploys the versions of our model that have no traffic; models of others are left alone."""
        endpoint = self._endpoint()
        for other in endpoint.deployed_models:
            idle = other.id != deployed and not endpoint.traffic_split.get(other.id)
            if idle and _last(other.model) == self._version.model:
                self._undeploy(other.id)

    def _roll_back(self, before: Split, model: Model, deployed: str) -> str:
        """Gives the traffic back and undeploys the version; describes how that went."""
        # Whoever else moves the traffic now: it must not stay with this version.
        insist = Retry(if_exception_type(Conflict, FailedPrecondition), initial=0.2, maximum=2.0, timeout=10.0)
        try:
            insist(self._move)(lambda _: before)
            with suppress(TimeoutError):  # `pending` below reports it
                self._wait_for_others(self._name, min(PATIENCE_SECONDS, DEPLOY_SECONDS))
            if deployed := deployed or self._mine(self._endpoint(), model):
                self._undeploy(deployed)
            pending = self._pending(self._name)
            served = self._served()
        except FAILURES as error:
            return (
                f"Rolling back has failed, too: {self._explained(error)}. Look at the endpoint {self._config.name}: "
                f"give its traffic to {before or 'nothing'} (percent by deployed model), and undeploy "
                f"{self._version.name}."
            )
        late = (
            f" {', '.join(pending)} has not ended yet: should it still deploy the version, that gets no traffic, but "
            "costs; run again, or undeploy it."
            if pending
            else ""
        )
        return f"The traffic is as it was. The endpoint {self._config.name} serves: {served}.{late}"

    # --- What they are made of ---

    def _endpoint(self) -> Endpoint:
        return self._endpoints.get_endpoint(name=self._name, retry=READING, timeout=REQUEST_SECONDS)

    def _model(self, name: str) -> Model | None:
        try:
            return self._models.get_model(name=name, retry=READING, timeout=REQUEST_SECONDS)
        except NotFound:
            return None

    def _resources(self) -> DedicatedResources:
        machine = MachineSpec(machine_type=self._config.machine_type)
        if self._config.accelerator is not None:
            machine.accelerator_type = AcceleratorType[self._config.accelerator]
            machine.accelerator_count = self._config.accelerators
        machine.tpu_topology = self._config.tpu_topology
        return DedicatedResources(
            machine_spec=machine,
            min_replica_count=self._config.min_replicas,
            max_replica_count=self._config.max_replicas,
        )

    def _mine(self, endpoint: Endpoint, model: Model) -> str:
        """Id under which `model` is deployed on the machines that are asked for; empty if it is not."""

        def essence(given: DedicatedResources) -> tuple[Any, ...]:
            machine = given.machine_spec
            kind = (machine.machine_type, machine.accelerator_type, machine.accelerator_count)
            return (*kind, given.min_replica_count, given.max_replica_count)

        for deployed in endpoint.deployed_models:
            # The number of the project stands in some names, and its id in others.
            same = (_last(deployed.model), deployed.model_version_id) == (_last(model.name), model.version_id)
            if same and essence(deployed.dedicated_resources) == essence(self._resources()):
                return deployed.id
        return ""

    def _move(self, change: Callable[[Split], Split]) -> None:
        """Sets the traffic to `change` of what it is, unless somebody else sets it in between."""
        endpoint = self._endpoint()
        now = {key: value for key, value in endpoint.traffic_split.items() if value}
        split = change(now)
        if split == now:
            return
        self._endpoints.update_endpoint(
            endpoint=Endpoint(name=self._name, traffic_split=split, etag=endpoint.etag),
            update_mask=FieldMask(paths=["traffic_split"]),
            retry=CHANGING,
            timeout=REQUEST_SECONDS,
        )

    def _undeploy(self, deployed: str) -> None:
        self._finish(
            self._endpoints.undeploy_model(
                endpoint=self._name, deployed_model_id=deployed, retry=CHANGING, timeout=REQUEST_SECONDS
            )
        )

    def _finish(self, started: Operation) -> operations_pb2.Operation:
        """Waits for an operation to end, and returns it.

        Raises:
          GoogleAPICallError: it has failed.
          TimeoutError: it has not ended in time.
        """

        def look() -> operations_pb2.Operation:
            now = self._operations.get_operation(started.operation.name, retry=READING, timeout=REQUEST_SECONDS)
            if not now.done:
                raise PendingError(f"{now.name} has not ended within {DEPLOY_SECONDS:g} s")
            return now

        ended = started.operation if started.operation.done else until_done(look, DEPLOY_SECONDS)
        if ended.HasField("error"):
            raise from_grpc_status(ended.error.code, ended.error.message)
        return ended

    def _pending(self, name: str) -> list[str]:
        """Names of the operations on `name` that have not ended."""
        try:
            listed = self._operations.list_operations(name, retry=READING, timeout=REQUEST_SECONDS)
            return [operation.name for operation in listed if not operation.done]
        except NotFound:
            return []

    def _wait_for_others(self, name: str, seconds: float) -> None:
        """Waits until no operation on `name` is under way: an attempt that was killed may have left one.

        Raises:
          TimeoutError: some are after so many seconds.
        """

        def look() -> None:
            if pending := self._pending(name):
                raise PendingError(f"{', '.join(pending)} has not ended within {seconds:g} s")

        until_done(look, seconds)

    def _served(self) -> str:
        endpoint = self._endpoint()
        names = {deployed.id: deployed.display_name for deployed in endpoint.deployed_models}
        shares = sorted(endpoint.traffic_split.items(), key=lambda pair: -pair[1])
        return ", ".join(f"{names.get(key, key)} with {value} %" for key, value in shares if value) or "nothing"

    @contextmanager
    def _naming(self, what: str) -> Iterator[None]:
        try:
            yield
        except (UserError, *FAILURES) as error:
            raise UserError(f"{what}: {self._explained(error)}") from error

    def _explained(self, error: BaseException) -> str:
        return explained(error, self._project, self._credentials)


def _last(resource: str) -> str:
    """Id of a resource, without its version."""
    return resource.rsplit("/", 1)[-1].split("@")[0]
