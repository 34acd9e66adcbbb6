"""The base of every section of the configuration: frozen, typed and strict. No TensorFlow, no TFX."""

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A frozen part of the configuration in which an unknown or ill-typed key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def problems(error: ValidationError) -> list[str]:
    """Describes each error in the data of a `Section`, as "section.key: problem (found value)"."""

    def described(key: str, kind: str, words: str, found: object) -> str:
        if kind == "json_invalid":
            return words
        if kind in ("extra_forbidden", "missing"):
            return f"{key}: {'missing' if kind == 'missing' else 'unknown key'}"
        value = "" if kind == "value_error" else f" (found {json.dumps(found, default=str)})"
        return f"{key}: {words.removeprefix('Value error, ')}{value}"

    return [
        described(".".join(map(str, item["loc"])) or "(top level)", item["type"], item["msg"], item["input"])
        for item in error.errors()
    ]
