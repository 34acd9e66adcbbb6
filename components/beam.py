"""Options of the Beam steps: on this machine, unless the settings name another runner."""

from components.config import BeamConfig


def beam_args(config: BeamConfig, *, tfx_workers: bool = False) -> list[str]:
    """Command-line options for a Beam pipeline, such as `beam_pipeline_args` of a TFX pipeline.

    Args:
      tfx_workers: the steps use TFX, so that workers in other processes, of whatever runner, must import it before
        anything else: tfx puts a stand-in for a part of tfx_bsl in place, without which tensorflow_data_validation
        cannot be imported. Workers that are threads of this process do not look at it.
    """
    workers = 1 if config.mode == "in_memory" else config.workers  # with more, Beam warns that there will be one
    args = [
        "--runner=DirectRunner",
        # We have no triggers. It keeps the runner from trying Prism first, for which it would download a program.
        "--allow_unsafe_triggers",
        f"--direct_running_mode={config.mode}",
        f"--direct_num_workers={workers}",
    ]
    if tfx_workers:
        args.append("--beam_plugins=tfx")
        if not any(option.startswith("--runner") for option in config.options):
            # Workers on this machine have what we have. Without an image TFX would pack all of itself up for them,
            # in every node: seconds for a package that nobody opens.
            args.append("--sdk_container_image=none")
    return [*args, *config.options]
