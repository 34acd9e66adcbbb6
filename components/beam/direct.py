"""The options of the runner for this machine."""


def direct_args(mode: str, workers: int) -> list[str]:
    """Returns the command-line options of a pipeline on this machine.

    Args:
      mode: in_memory, multi_threading or multi_processing.
      workers: threads or processes; 0: one per processor. With in_memory, there is one.
    """
    workers = 1 if mode == "in_memory" else workers  # with more, Beam warns that there will be one
    return [
        "--runner=components.beam.runner.LocalRunner",
        f"--direct_running_mode={mode}",
        f"--direct_num_workers={workers}",
    ]
