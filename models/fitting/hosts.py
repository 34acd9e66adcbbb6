"""The hosts that the environment names to train on. No TensorFlow: a run looks at them before its first node."""

import json
import os

from components.base.errors import UserError


def refuse_several_hosts() -> None:
    """Raises UserError for several hosts: each would train a model of its own, as Keras 3 knows no such strategy."""
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    except (ValueError, AttributeError) as error:
        raise UserError(f"TF_CONFIG in the environment is no JSON object ({error}): correct it, or unset it") from error
    hosts = sum(len(cluster.get(role, ())) for role in ("chief", "master", "worker"))
    if hosts > 1:
        raise UserError(
            f"TF_CONFIG names {hosts} workers, but Keras 3 cannot fit a model on several hosts "
            "(keras-team/keras#20585): give the Trainer one host with several GPUs, or a TPU"
        )
