"""Reads compiled pipelines, as `genre compile` writes them, so that runs of them start without TensorFlow."""

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from components.base.errors import UserError
from components.base.section import problems
from pipeline.config.settings import PipelineConfig, changed_config
from pipeline.config.targets import Target

_FIRST = "Planner"
"""The first node of every compiled pipeline; the configuration is one of its inputs."""


@dataclass(frozen=True)
class Package:
    """A compiled pipeline."""

    documents: tuple[dict[str, Any], ...]
    """Documents of the file: a PipelineJob for Vertex AI; else the specification and, if needed, Kubernetes' part."""
    config: PipelineConfig
    """Configuration that the pipeline was compiled with."""

    @property
    def spec(self) -> dict[str, Any]:
        """The specification of the pipeline."""
        return _spec_of(self.documents[0])

    @property
    def defaults(self) -> dict[str, Any]:
        """Default values of the run parameters."""
        declared = self.spec["root"]["inputDefinitions"]["parameters"]
        return {name: parameter.get("defaultValue") for name, parameter in declared.items()}

    def without_caching(self) -> "Package":
        """Returns the same pipeline without caching: every node runs."""
        documents = copy.deepcopy(self.documents)
        for task in _spec_of(documents[0])["root"]["dag"]["tasks"].values():
            task.pop("cachingOptions", None)
        return Package(documents, self.config)

    def config_with(self, overrides: Sequence[str], target: Target) -> PipelineConfig:
        """Returns the configuration with other settings, of those that are not compiled in.

        Raises:
          UserError: unknown or ill-typed settings, or one that is compiled in.
        """
        changed = changed_config(self.config, overrides)
        fixed = [key for key, value in changed if key != target and value != getattr(self.config, key)]
        section, compiled = getattr(changed, target), getattr(self.config, target)
        fixed += [
            f"{target}.{key}"
            for key, value in section
            if key not in section.at_submission() and value != getattr(compiled, key)
        ]
        if fixed:
            raise UserError(
                f"--set: {', '.join(fixed)} cannot be set otherwise than the package was compiled with. Compile it "
                "again, or use --data, --span and --run-set."
            )
        return changed


def _spec_of(document: dict[str, Any]) -> dict[str, Any]:
    return document.get("pipelineSpec", document)


def read_package(text: str, source: str, target: Target) -> Package:
    """Reads a compiled pipeline.

    Args:
      text: of its file.
      source: its name in errors.
      target: service that it must be for.

    Raises:
      UserError: it is no compiled pipeline, not of this project, of another version, or for another target.
    """
    documents = documents_of(text, source)
    try:
        tasks = _spec_of(documents[0])["root"]["dag"]["tasks"]
        _spec_of(documents[0])["root"]["inputDefinitions"]["parameters"]
    except (KeyError, TypeError, IndexError, AttributeError):
        raise UserError(
            f"{source}: this is no compiled pipeline. Make one: genre compile --target {target} --config FILE -o FILE"
        ) from None
    found: Target = "vertex" if "pipelineSpec" in documents[0] else "kubeflow"
    if found != target:
        raise UserError(f"{source}: it was compiled for --target {found}, not for {target}")
    try:
        compiled = tasks[_FIRST]["inputs"]["parameters"]["compiled"]["runtimeValue"]["constant"]
    except (KeyError, TypeError):
        raise UserError(f"{source}: it was not made by `genre compile`: it has no node {_FIRST}") from None
    try:
        config = PipelineConfig.model_validate_json(compiled)
    except ValidationError as error:
        raise UserError(
            f"{source}: it was compiled by another version of this project. Compile it again.\n  "
            + "\n  ".join(problems(error))
        ) from error
    return Package(tuple(documents), config)


def documents_of(text: str, source: str) -> list[Any]:
    """Returns the documents of a file that `genre compile` may have written.

    Raises:
      UserError: it is neither JSON nor YAML.
    """
    try:
        return [json.loads(text)]
    except ValueError:
        pass  # then it is YAML
    try:
        return list(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise UserError(f"{source}: this is no compiled pipeline: {' '.join(str(error).split())}") from error
