"""Machines and accelerators of Google Cloud: one table, for machines that are named and for the sizes of steps."""

from dataclasses import dataclass

from pydantic import Field, model_validator

from components.base.section import Section

Size = tuple[int, int]
"""Number of CPUs, and memory in GB."""

LARGEST_STEP: Size = (96, 624)
"""The most that Vertex AI Pipelines gives a step."""


@dataclass(frozen=True)
class Offer:
    """The machines that have so many accelerators of a kind."""

    accelerator: str
    count: int
    cpus: int
    """The most CPUs that a machine with them has."""
    memory_gb: int
    """The most memory that a machine with them has."""
    machines: tuple[str, ...] = ()
    """Their machine types; empty if a step can ask for them, but no job or endpoint can name a machine."""
    steps: bool = True
    """Whether Vertex AI Pipelines gives such a machine to a step, which is never on spot capacity."""


_N1_GB_PER_CPU = {"standard": 3.75, "highmem": 6.5, "highcpu": 0.9}
_N1_CPUS = (2, 4, 8, 16, 32, 64, 96)


def _n1(accelerator: str, count: int, cpus: int, memory_gb: int) -> Offer:
    """Accelerators that are attached to any machine of the N1 series up to that size."""
    machines = tuple(
        f"n1-{series}-{size}"
        for series, gb in _N1_GB_PER_CPU.items()
        for size in _N1_CPUS
        if size <= cpus and size * gb <= memory_gb
    )
    return Offer(accelerator, count, cpus, memory_gb, machines)


# Source: "GPU machine types" of Compute Engine's documentation (cloud.google.com/compute/docs/gpus), with the limits of
# CPUs and memory per number of GPUs there; accelerators as google.cloud.aiplatform_v1.AcceleratorType names them. Of A3
# High, machines with fewer than eight GPUs are spot or flex-start only.
OFFERS = (
    _n1("NVIDIA_TESLA_P4", 1, 24, 156),
    _n1("NVIDIA_TESLA_P4", 2, 48, 312),
    _n1("NVIDIA_TESLA_P4", 4, 96, 624),
    _n1("NVIDIA_TESLA_T4", 1, 48, 312),
    _n1("NVIDIA_TESLA_T4", 2, 48, 312),
    _n1("NVIDIA_TESLA_T4", 4, 96, 624),
    _n1("NVIDIA_TESLA_P100", 1, 16, 104),
    _n1("NVIDIA_TESLA_P100", 2, 32, 208),
    _n1("NVIDIA_TESLA_P100", 4, 96, 624),
    _n1("NVIDIA_TESLA_V100", 1, 12, 78),
    _n1("NVIDIA_TESLA_V100", 2, 24, 156),
    _n1("NVIDIA_TESLA_V100", 4, 48, 312),
    _n1("NVIDIA_TESLA_V100", 8, 96, 624),
    Offer("NVIDIA_L4", 1, 32, 128, tuple(f"g2-standard-{cpus}" for cpus in (4, 8, 12, 16, 32))),
    Offer("NVIDIA_L4", 2, 24, 96, ("g2-standard-24",)),
    Offer("NVIDIA_L4", 4, 48, 192, ("g2-standard-48",)),
    Offer("NVIDIA_L4", 8, 96, 384, ("g2-standard-96",)),
    Offer("NVIDIA_TESLA_A100", 1, 12, 85, ("a2-highgpu-1g",)),
    Offer("NVIDIA_TESLA_A100", 2, 24, 170, ("a2-highgpu-2g",)),
    Offer("NVIDIA_TESLA_A100", 4, 48, 340, ("a2-highgpu-4g",)),
    Offer("NVIDIA_TESLA_A100", 8, 96, 680, ("a2-highgpu-8g",)),
    Offer("NVIDIA_TESLA_A100", 16, 96, 1360, ("a2-megagpu-16g",)),
    Offer("NVIDIA_A100_80GB", 1, 12, 170, ("a2-ultragpu-1g",)),
    Offer("NVIDIA_A100_80GB", 2, 24, 340, ("a2-ultragpu-2g",)),
    Offer("NVIDIA_A100_80GB", 4, 48, 680, ("a2-ultragpu-4g",)),
    Offer("NVIDIA_A100_80GB", 8, 96, 1360, ("a2-ultragpu-8g",)),
    Offer("NVIDIA_H100_80GB", 1, 26, 234, ("a3-highgpu-1g",), steps=False),
    Offer("NVIDIA_H100_80GB", 2, 52, 468, ("a3-highgpu-2g",), steps=False),
    Offer("NVIDIA_H100_80GB", 4, 104, 936, ("a3-highgpu-4g",), steps=False),
    Offer("NVIDIA_H100_80GB", 8, 208, 1872, ("a3-highgpu-8g",)),
    Offer("TPU_V2", 8, 96, 624),
    Offer("TPU_V3", 8, 96, 624),
)


def machine_problem(machine: str, accelerator: str | None, count: int) -> str:
    """Describes why no machine type `machine` has `count` of `accelerator`; empty if it has them.

    Args:
      machine: machine type of Compute Engine, such as g2-standard-8.
      accelerator: None: none, `count` means nothing then.
      count: number of accelerators.
    """
    if accelerator is None:
        built_in = [offer for offer in OFFERS if machine in offer.machines and not machine.startswith("n1-")]
        return next(
            (
                f"{machine} has {of.count} of {of.accelerator}: set accelerator and accelerators to that"
                for of in built_in
            ),
            "",
        )
    named = [offer for offer in OFFERS if offer.machines]
    fitting, problem = _with(named, accelerator, count)
    if fitting and machine not in fitting.machines:
        return f"{machine} cannot have {count} of {accelerator}; choose {', '.join(fitting.machines)}"
    return problem


def step_problem(cpus: float, memory_gb: float, accelerator: str | None, count: int) -> str:
    """Describes why Vertex AI Pipelines has no machine for a step that asks for so much; empty if it has one.

    Args:
      cpus: number of CPUs; 0: any.
      memory_gb: memory in GB; 0: any.
      accelerator: None: none, `count` means nothing then.
      count: number of accelerators.
    """
    largest, with_it = LARGEST_STEP, ""
    if accelerator is not None:
        offer, problem = _with([offer for offer in OFFERS if offer.steps], accelerator, count)
        if offer is None:
            return problem
        largest = min(offer.cpus, LARGEST_STEP[0]), min(offer.memory_gb, LARGEST_STEP[1])
        with_it = f" with {count} of {accelerator}"
    if cpus > largest[0] or memory_gb > largest[1]:
        return f"no machine{with_it} has more than {largest[0]} CPUs and {largest[1]} GB"
    return ""


def _with(offers: list[Offer], accelerator: str, count: int) -> tuple[Offer | None, str]:
    """The offer of exactly that, or what is wrong with the kind or its number."""
    of_kind = {offer.count: offer for offer in offers if offer.accelerator == accelerator}
    if not of_kind:
        return None, f"accelerator {accelerator} is none of {', '.join(dict.fromkeys(of.accelerator for of in offers))}"
    if count not in of_kind:
        return None, f"no machine has {count} of {accelerator}; choose {' or '.join(map(str, of_kind))}"
    return of_kind[count], ""


class MachineConfig(Section):
    """A machine of Vertex AI by its name."""

    machine_type: str = Field(
        "n1-standard-4",
        pattern=r"^[a-z][a-z0-9]*-[a-z]+-[0-9]+g?$",
        description="machine type of Compute Engine, such as g2-standard-8",
    )
    accelerator: str | None = Field(
        None, description="kind of accelerator, as Vertex AI names it, such as NVIDIA_L4; null: no accelerator"
    )
    accelerators: int = Field(1, ge=1, description="number of accelerators of that kind on one machine")

    @model_validator(mode="after")
    def _check_machine(self) -> "MachineConfig":
        if problem := machine_problem(self.machine_type, self.accelerator, self.accelerators):
            raise ValueError(problem)
        return self
