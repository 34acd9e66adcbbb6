"""TensorFlow Serving's REST API: reads its requests and writes its answers, errors included."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.serving.batching import Answer

NAME = "genre"
"""Name of the model."""
LARGEST_REQUEST = 1024
"""Instances in a request at most."""
_MOST_VALUES = 100_000
"""Commas in a request at most. Each value takes far more memory than the few bytes in which JSON writes it."""
REQUEST_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "signature_name": {"type": "string", "default": "serving_default"},
                        "instances": {"type": "array", "items": {}, "maxItems": LARGEST_REQUEST},
                        "inputs": {},
                    },
                },
                "example": {"signature_name": "audio", "instances": [{"b64": "UklGRi4A..."}]},
            }
        },
    }
}
"""How OpenAPI describes a request to predict."""
_DEFAULT_SIGNATURE = "serving_default"


class RequestError(Exception):
    """A request that cannot be answered. The message says what is wrong with it."""


@dataclass(frozen=True)
class Request:
    """What a client asks."""

    signature: str
    values: Any
    """The instances, or the inputs, as JSON."""
    columns: bool
    """True: `inputs` were given, and `outputs` are answered; False: `instances` and `predictions`."""

    def items(self, name: str) -> list[bytes]:
        """Returns the items of a batch of strings.

        Args:
          name: name of the input, in which each instance may be wrapped.

        Raises:
          RequestError: there are none, or too many, or one is no string.
        """
        values = self.values
        if self.columns and isinstance(values, dict) and set(values) == {name}:
            values = values[name]
        what = "inputs" if self.columns else "instances"
        if not isinstance(values, list) or not values:
            raise RequestError(f"'{what}' must be a list with at least one string, or {{\"b64\": ...}}, in it")
        if len(values) > LARGEST_REQUEST:
            raise RequestError(f"'{what}' has {len(values)} items; at most {LARGEST_REQUEST} are answered at a time")
        return [_bytes_of(value, name, f"{what}[{place}]") for place, value in enumerate(values)]


def read_request(body: bytes) -> Request:
    """Reads the body of a request to predict.

    Raises:
      RequestError: it is not what TensorFlow Serving takes.
    """
    if body.count(b",") > _MOST_VALUES:
        raise RequestError(f"more than {_MOST_VALUES} values in a request")
    try:
        asked = json.loads(body)
    except RecursionError:
        raise RequestError("JSON Parse error: it is nested too deeply") from None
    except ValueError as error:  # also of bytes that are no UTF-8, and of numbers that are too long
        raise RequestError(f"JSON Parse error: {error}") from error
    if not isinstance(asked, dict):
        raise RequestError("JSON Value must be an object with 'instances' or 'inputs'")
    if len(given := {"instances", "inputs"} & asked.keys()) != 1:
        raise RequestError("Give 'instances' or 'inputs'" + ", not both" * bool(given))
    signature = asked.get("signature_name") or _DEFAULT_SIGNATURE
    if not isinstance(signature, str):
        raise RequestError("'signature_name' must be a string")
    columns = "inputs" in asked
    return Request(signature, asked["inputs" if columns else "instances"], columns)


def write_answer(request: Request, answers: Sequence[Answer]) -> dict[str, Any]:
    """Returns the body of the answer as JSON: a signature of one output has its values without their name."""
    if request.columns:
        columns = {name: [_as_json(each[name]) for each in answers] for name in answers[0]}
        return {"outputs": next(iter(columns.values())) if len(columns) == 1 else columns}
    rows = [{name: _as_json(value) for name, value in each.items()} for each in answers]
    return {"predictions": [next(iter(row.values())) for row in rows] if len(rows[0]) == 1 else rows}


def status(version: int) -> dict[str, Any]:
    """Returns the body that says that a version is available."""
    available = {"version": str(version), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    return {"model_version_status": [available]}


def metadata(version: int, signature_def: dict[str, Any]) -> dict[str, Any]:
    """Returns the body that describes the signatures of a version."""
    return {
        "model_spec": {"name": NAME, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": signature_def}},
    }


def _bytes_of(value: Any, name: str, where: str) -> bytes:
    if isinstance(value, dict) and set(value) == {name}:
        value = value[name]
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if not (isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)):
        raise RequestError(f'{where} must be a string, or {{"b64": ...}} for bytes')
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"{where}: Unable to base64 decode: {error}") from error


def _as_json(value: NDArray) -> Any:
    """Returns an array as lists of numbers, truth values and texts."""
    if value.dtype == object:
        return np.vectorize(lambda each: each.decode("utf-8", "replace"), otypes=[object])(value).tolist()
    return value.tolist()
