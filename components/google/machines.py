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
    stated: bool = True
    """Whether a public table states the limits; what contradicts other ones is doubtful, but not refused."""


@dataclass(frozen=True)
class Finding:
    """A sentence about a machine that there is not, or may not be; empty if it fits the table."""

    text: str = ""
    certain: bool = True
    """Whether it must be refused; False: no public table states it, so a warning is enough."""


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
    return Offer(accelerator, count, cpus, memory_gb, machines, stated=False)


# Names of accelerators: google.cloud.aiplatform_v1.AcceleratorType. Which of them a step may ask for: "Specify the
# machine configuration for a pipeline step", cloud.google.com/vertex-ai/docs/pipelines/machine-types.
OFFERS = (
    # N1: no public table has the limits of CPUs and memory by number of GPUs any more. These are the ones of old.
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
    # G2, A2 and A3: "GPU machine types", cloud.google.com/compute/docs/gpus; "Accelerator-optimized machine family",
    # cloud.google.com/compute/docs/accelerator-optimized-machines. Compute Engine's API has the same figures for A2
    # and A3: github.com/skypilot-org/skypilot-catalog, catalogs/v8/gcp/vms.csv.
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
    # Of A3 High, machines with fewer than eight GPUs are spot or flex-start only.
    Offer("NVIDIA_H100_80GB", 1, 26, 234, ("a3-highgpu-1g",), steps=False),
    Offer("NVIDIA_H100_80GB", 2, 52, 468, ("a3-highgpu-2g",), steps=False),
    Offer("NVIDIA_H100_80GB", 4, 104, 936, ("a3-highgpu-4g",), steps=False),
    Offer("NVIDIA_H100_80GB", 8, 208, 1872, ("a3-highgpu-8g",)),
    # A3 Mega, A3 Ultra and A4: the same pages; A3 Ultra also github.com/skypilot-org/skypilot/issues/8102, and A4 the
    # machine types of Google's cluster autoscaler. No page states that a step gets them: they are for machines by name.
    Offer("NVIDIA_H100_MEGA_80GB", 8, 208, 1872, ("a3-megagpu-8g",), steps=False),
    Offer("NVIDIA_H200_141GB", 8, 224, 2952, ("a3-ultragpu-8g",), steps=False),
    Offer("NVIDIA_B200", 8, 224, 3968, ("a4-highgpu-8g",), steps=False),
    Offer("TPU_V2", 8, 96, 624),
    Offer("TPU_V3", 8, 96, 624),
)
# "TPU v5e" and "TPU v6e", cloud.google.com/tpu/docs/v5e and /v6e: slices that one machine has. For endpoints: "Deploy a
# model to Cloud TPU VMs", cloud.google.com/vertex-ai/docs/predictions/use-tpu. A step cannot ask for them, as the API
# has no accelerator of that name: they are for machines by name, in `vertex.training` and `vertex.endpoint`.
TPU_TOPOLOGIES = {
    f"{series}-{chips}t": topology
    for series in ("ct5lp-hightpu", "ct6e-standard")
    for chips, topology in ((1, "1x1"), (4, "2x2"), (8, "2x4"))
}
"""By machine type with TPUs of v5e or v6e: how its chips are connected. Vertex AI wants no accelerator's name then."""


def machine_finding(machine: str, accelerator: str | None, count: int) -> Finding:
    """Describes why no machine type `machine` has `count` of `accelerator`; empty if it has them.

    Args:
      machine: machine type of Compute Engine, such as g2-standard-8.
      accelerator: None: none, `count` means nothing then.
      count: number of accelerators.
    """
    if accelerator is None:
        built_in = (offer for offer in OFFERS if machine in offer.machines and not machine.startswith("n1-"))
        of = next(built_in, None)
        text = f"{machine} has {of.count} of {of.accelerator}: set accelerator and accelerators to that" if of else ""
        return Finding(text)
    if machine in TPU_TOPOLOGIES:
        return Finding(f"{machine} has its TPUs without being asked: set accelerator to null")
    fitting, finding = _with([offer for offer in OFFERS if offer.machines], accelerator, count)
    if fitting and machine not in fitting.machines:
        known = ", ".join(fitting.machines)
        if fitting.stated:
            return Finding(f"{machine} cannot have {count} of {accelerator}; choose {known}")
        return Finding(f"{machine} may not have {count} of {accelerator}; these had it: {known}", certain=False)
    return finding


def step_finding(cpus: float, memory_gb: float, accelerator: str | None, count: int) -> Finding:
    """Describes why Vertex AI Pipelines has no machine for a step that asks for so much; empty if it has one.

    Args:
      cpus: number of CPUs; 0: any.
      memory_gb: memory in GB; 0: any.
      accelerator: None: none, `count` means nothing then.
      count: number of accelerators.
    """
    if cpus > LARGEST_STEP[0] or memory_gb > LARGEST_STEP[1]:
        return Finding(f"no machine has more than {LARGEST_STEP[0]} CPUs and {LARGEST_STEP[1]} GB")
    if accelerator is None:
        return Finding()
    offer, finding = _with([offer for offer in OFFERS if offer.steps], accelerator, count)
    if offer is None or (cpus <= offer.cpus and memory_gb <= offer.memory_gb):
        return finding
    limit = f"{offer.cpus} CPUs and {offer.memory_gb} GB"
    if offer.stated:
        return Finding(f"no machine with {count} of {accelerator} has more than {limit}")
    return Finding(f"a machine with {count} of {accelerator} may not have more than {limit}", certain=False)


def _with(offers: list[Offer], accelerator: str, count: int) -> tuple[Offer | None, Finding]:
    """The offer of exactly that, or what is wrong with the kind or its number."""
    of_kind = {offer.count: offer for offer in offers if offer.accelerator == accelerator}
    if not of_kind:
        known = ", ".join(dict.fromkeys(of.accelerator for of in offers))
        return None, Finding(f"accelerator {accelerator} is none of {known}")
    if count in of_kind:
        return of_kind[count], Finding()
    numbers = " or ".join(map(str, of_kind))
    if all(offer.stated for offer in of_kind.values()):
        return None, Finding(f"no machine has {count} of {accelerator}; choose {numbers}")
    return None, Finding(f"there may be no machine with {count} of {accelerator}; known are {numbers}", certain=False)


class MachineConfig(Section):
    """A machine of Vertex AI by its name."""

    machine_type: str = Field(
        "n1-standard-4",
        pattern=r"^[a-z][a-z0-9]*-[a-z]+-[0-9]+[gt]?$",
        description="machine type of Compute Engine, such as g2-standard-8",
    )
    accelerator: str | None = Field(
        None,
        description="kind of accelerator, as Vertex AI names it, such as NVIDIA_L4; null: no accelerator, or the TPUs "
        "that machine types ct5lp-hightpu-Nt and ct6e-standard-Nt have",
    )
    accelerators: int = Field(1, ge=1, description="number of accelerators of that kind on one machine")

    @model_validator(mode="after")
    def _check_machine(self) -> "MachineConfig":
        if (found := self.finding).text and found.certain:
            raise ValueError(found.text)
        return self

    @property
    def finding(self) -> Finding:
        """See `machine_finding`."""
        return machine_finding(self.machine_type, self.accelerator, self.accelerators)

    @property
    def tpu_topology(self) -> str:
        """Returns how the TPUs of the machine are connected; empty: it has none."""
        return TPU_TOPOLOGIES.get(self.machine_type, "")
