"""Compiled pipelines, read again."""

import json
from collections.abc import Callable

import pytest

from components.base.errors import UserError
from pipeline.config.settings import PipelineConfig, changed_config
from pipeline.remote.package import read_package

Config = Callable[..., PipelineConfig]
Text = Callable[[PipelineConfig, str], str]


@pytest.mark.parametrize("target", ["kubeflow", "vertex"])
def test_what_compile_wrote(target: str, remote_config: Config, package_text: Text) -> None:
    package = read_package(package_text(remote_config(target), target), "p", target)
    assert package.config == remote_config(target)
    assert package.spec["pipelineInfo"] == {"name": "genre"}
    assert package.defaults == {"data": "gs://b/data", "span": "last", "settings": ""}
    assert len(package.documents) == (2 if target == "kubeflow" else 1)


@pytest.mark.parametrize("target", ["kubeflow", "vertex"])
def test_without_caching(target: str, remote_config: Config, package_text: Text) -> None:
    package = read_package(package_text(remote_config(target), target), "p", target)
    bare = package.without_caching()
    assert package.spec["root"]["dag"]["tasks"]["Trainer"]["cachingOptions"] == {"enableCache": True}
    assert "enableCache" not in json.dumps(bare.documents)
    assert bare.config == package.config


@pytest.mark.parametrize(
    "text", ["", "\0\x01", "a: [", "- 1", "a: b", '{"pipelineSpec": 3}', "root: {dag: {tasks: {}}}"]
)
def test_no_package(text: str) -> None:
    with pytest.raises(UserError, match=r"p: this is no compiled pipeline"):
        read_package(text, "p", "kubeflow")


def test_somebody_else_s_package(remote_config: Config, package_text: Text) -> None:
    config = remote_config("kubeflow")
    with pytest.raises(UserError, match="it was not made by `genre compile`"):
        read_package(package_text(config, "kubeflow").replace("Planner", "flip-coin"), "p", "kubeflow")
    with pytest.raises(UserError, match=r"by another version(?s:.*)workspaces: unknown key"):
        read_package(package_text(config, "kubeflow").replace("workspace", "workspaces"), "p", "kubeflow")


def test_the_other_target_s_package(remote_config: Config, package_text: Text) -> None:
    for target, other in (("kubeflow", "vertex"), ("vertex", "kubeflow")):
        with pytest.raises(UserError, match=f"it was compiled for --target {other}, not for {target}"):
            read_package(package_text(remote_config(other), other), "p", target)


def test_settings_that_a_node_was_told_are_compiled_in(remote_config: Config, package_text: Text) -> None:
    config = changed_config(remote_config("vertex"), ["vertex.training={}"])
    package = read_package(package_text(config, "vertex"), "p", "vertex")
    assert package.config_with(["vertex.caching=false"], "vertex").vertex.caching is False
    with pytest.raises(UserError, match=r"--set: vertex\.project cannot be set otherwise"):
        package.config_with(["vertex.project=q"], "vertex")


def test_settings_that_count_when_it_is_submitted(remote_config: Config, package_text: Text) -> None:
    package = read_package(package_text(remote_config("vertex"), "vertex"), "p", "vertex")
    changed = package.config_with(["vertex.project=q", "vertex.labels={team: a}", "vertex.caching=false"], "vertex")
    assert (changed.vertex.project, changed.vertex.labels, changed.vertex.caching) == ("q", {"team": "a"}, False)
    with pytest.raises(UserError, match=r"--set: train, vertex\.image cannot be set otherwise"):
        package.config_with(["train.epochs=3", "vertex.image=r/other:2"], "vertex")
