"""Machines and accelerators of Google Cloud."""

from pydantic import Field, model_validator

from components.base.section import Section


def _n1(cpus: int) -> tuple[str, ...]:
    """Machines of the N1 series with up to so many CPUs: the ones to which accelerators are attached at will."""
    kinds, sizes = ("standard", "highmem", "highcpu"), (2, 4, 8, 16, 32, 64, 96)
    return tuple(f"n1-{kind}-{size}" for kind in kinds for size in sizes if size <= cpus)


MACHINES = {
    "NVIDIA_TESLA_P4": {1: _n1(16), 2: _n1(32), 4: _n1(96)},
    "NVIDIA_TESLA_T4": {1: _n1(32), 2: _n1(32), 4: _n1(96)},
    "NVIDIA_TESLA_P100": {1: _n1(16), 2: _n1(32), 4: _n1(96)},
    "NVIDIA_TESLA_V100": {1: _n1(8), 2: _n1(16), 4: _n1(32), 8: _n1(96)},
    "NVIDIA_L4": {
        1: tuple(f"g2-standard-{size}" for size in (4, 8, 12, 16, 32)),
        2: ("g2-standard-24",),
        4: ("g2-standard-48",),
        8: ("g2-standard-96",),
    },
    "NVIDIA_TESLA_A100": {n: (f"a2-highgpu-{n}g",) for n in (1, 2, 4, 8)} | {16: ("a2-megagpu-16g",)},
    "NVIDIA_A100_80GB": {n: (f"a2-ultragpu-{n}g",) for n in (1, 2, 4, 8)},
    "NVIDIA_H100_80GB": {n: (f"a3-highgpu-{n}g",) for n in (1, 2, 4, 8)},
}
"""By accelerator and number: the machines of Vertex AI that have so many of them."""


class MachineConfig(Section):
    """A machine of Vertex AI by its name."""

    machine_type: str = Field("n1-standard-4", pattern=r"^[a-z][a-z0-9]*-[a-z]+-[0-9]+g?$")
    accelerator: str | None = Field(None, description="kind, as Vertex AI names it; null: none")
    accelerators: int = Field(1, ge=1, description="how many of the kind")

    @model_validator(mode="after")
    def _check_machine(self) -> "MachineConfig":
        machine, kind, number = self.machine_type, self.accelerator, self.accelerators
        if kind is None:
            for built_in, machines in MACHINES.items():
                count = next((count for count, names in machines.items() if machine in names), None)
                if count and not machine.startswith("n1-"):
                    raise ValueError(f"{machine} has {count} of {built_in}: set accelerator and accelerators to that")
        elif kind not in MACHINES:
            raise ValueError(f"accelerator {kind} is none of {', '.join(MACHINES)}")
        elif number not in MACHINES[kind]:
            raise ValueError(f"no machine has {number} of {kind}; choose {' or '.join(map(str, MACHINES[kind]))}")
        elif machine not in MACHINES[kind][number]:
            allowed = ", ".join(MACHINES[kind][number])
            raise ValueError(f"{machine} cannot have {number} of {kind}; choose {allowed}")
        return self
