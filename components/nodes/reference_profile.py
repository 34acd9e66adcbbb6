"""The node that profiles the clips that a candidate is measured on: what later clips will be compared with."""

from etils import epath
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.types.experimental import simple_artifacts
from tfx.utils import path_utils

from components.drift.profile import PROFILE, profile_clips, write_profile
from components.nodes.example_files import split_files

SPLITS = ("test", "eval", "window")


@component
def ReferenceProfile(  # noqa: N802 (the name of a node)
    model: InputArtifact[standard_artifacts.Model],
    held_out: InputArtifact[standard_artifacts.Examples],
    reference: OutputArtifact[simple_artifacts.File],
    source: Parameter[str],
) -> None:
    """Profiles, with the candidate, clips of the window that it was not trained on.

    Args:
      model: the candidate.
      held_out: raw examples; their splits `test`, `eval` and `window` are used.
      reference: the profile; it is pushed with the model.
      source: digest of this code, for TFX's cache.
    """
    del source
    saved_model = epath.Path(path_utils.serving_model_path(model.uri))
    profile = profile_clips(saved_model, split_files(held_out, SPLITS))
    write_profile(profile, epath.Path(reference.uri) / PROFILE)
    groups = len(set(profile.groups))
    print(f"the reference for drift: {len(profile.track_ids)} clips of {groups} groups", flush=True)
