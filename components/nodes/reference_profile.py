"""The node that profiles the clips that a candidate is measured on, to compare later clips with."""

from etils import epath
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.drift.profile import profile_clips, write_profile
from components.nodes.artifacts import PROFILE, TESTED, serving_path, split_files

SPLITS = (*TESTED, "eval", "window")


@component
def ReferenceProfile(  # noqa: N802 (the name of a node)
    model: InputArtifact[standard_artifacts.Model],
    held_out: InputArtifact[standard_artifacts.Examples],
    reference: OutputArtifact[simple_artifacts.File],
    parameters: Parameter[str],
) -> None:
    """Profiles, with the candidate, clips of the window that it was not trained on.

    Args:
      model: the candidate.
      held_out: raw examples; their splits `test`, `eval`, `joined` and `window` are used.
      reference: the profile; it is pushed with the model.
      parameters: `ReferenceParameters`, JSON.
    """
    del parameters  # they are for TFX's cache
    profile = profile_clips(epath.Path(serving_path(model)), split_files(held_out, SPLITS))
    write_profile(profile, epath.Path(reference.uri) / PROFILE)
    groups = len(set(profile.groups))
    print(f"the reference for drift: {len(profile.track_ids)} clips of {groups} groups", flush=True)
