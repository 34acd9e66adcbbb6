"""The pipeline of `genre submit --smoke`: two small steps with everything that the steps of a real run have."""

import apache_beam as beam
from etils import epath
from tfx.dsl.component.experimental.annotations import BeamComponentParameter, InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from components.base.errors import UserError
from components.beam.options import beam_args
from pipeline.remote.setup_problems import Setup, copy_text, problems

_FILE = "setup.txt"


@component
def SetupCheck(  # noqa: N802 (the name of a node)
    written: OutputArtifact[standard_artifacts.ModelRun],
    setup: Parameter[str],
) -> None:
    """Checks image, data, workspace, disks and accelerators, and writes an artifact.

    Args:
      written: a file for ArtifactCheck.
      setup: `Setup`, JSON.

    Raises:
      UserError: the list of all that is wrong.
    """
    known = Setup.model_validate_json(setup)
    if found := problems(known):
        raise UserError("\n".join((f"{len(found)} problems:", *(f"  {problem}" for problem in found))))
    folder = epath.Path(written.uri)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE).write_text(known.digest)
    print("the image, data, workspace, disks and accelerators are as they must be", flush=True)


@component(use_beam=True)
def ArtifactCheck(  # noqa: N802 (the name of a node)
    written: InputArtifact[standard_artifacts.ModelRun],
    copied: OutputArtifact[standard_artifacts.ModelRun],
    setup: Parameter[str],
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Checks that a step gets the artifact of another one, and that Beam's workers can read it and write a new one.

    Args:
      written: of SetupCheck.
      copied: the same file, by a worker.
      setup: `Setup`, JSON.
      beam_pipeline: given by TFX.

    Raises:
      UserError: the artifact is not there or not what was written, or Beam's job failed.
    """
    known = Setup.model_validate_json(setup)
    source, target = epath.Path(written.uri) / _FILE, epath.Path(copied.uri) / _FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_file() or source.read_text() != known.digest:
        raise UserError(
            f"{known.target}.pipeline_root: {source}: this is not what the step SetupCheck wrote. Check that the "
            "steps may read and write the folder of the artifacts, and that no other run writes there."
        )
    runner = known.config.beam.runner
    place = known.shared or "pipeline_root"
    advice = (
        f"Check that the steps can reach {runner} (beam.{runner}), that its workers run the image "
        f"{known.config.beam.image}, and that they may read and write the artifacts in {place}."
    )
    try:
        with beam_pipeline as job:
            job | beam.Create([str(source)]) | beam.Map(copy_text, str(target))
    except Exception as error:
        raise UserError(f"beam.runner: a small job failed: {type(error).__name__}: {error}. {advice}") from error
    if not target.is_file() or target.read_text() != known.digest:
        raise UserError(f"beam.runner: the file that a worker wrote is not at {target} for the step. {advice}")
    print("artifacts pass from step to step, and Beam's workers read and write them", flush=True)


def create_setup_check(setup: Setup, artifacts: str) -> Pipeline:
    """Makes the pipeline.

    Args:
      setup: what its steps must find.
      artifacts: folder of the artifacts; empty: the server's own.
    """
    text = setup.model_dump_json()
    first = SetupCheck(setup=text)
    return Pipeline(
        pipeline_name=setup.config.name,
        pipeline_root=artifacts,
        components=[first, ArtifactCheck(written=first.outputs["written"], setup=text)],
        enable_cache=False,
        beam_pipeline_args=beam_args(setup.config.beam, tfx_workers=True),
    )
