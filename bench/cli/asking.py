"""From the words of `run` and `plan` to a grid, its overrides and layers from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.grid import Grid, GridValue
    from bench.layers import Layer
    from bench.plan import Plan


@dataclass(frozen=True)
class Asked:
    """What a user asked to measure, checked as far as it can be without a worker."""

    grid: Grid
    overrides: Mapping[str, tuple[GridValue, ...]]
    extra_layers: Sequence[tuple[str, Layer]]

    def plan(self, devices: Sequence[str], *, measurable: bool = True) -> Plan:
        """Returns the plan on a machine that has these devices; `measurable` is that of `bench.plan.make`."""
        from bench import plan  # noqa: PLC0415

        return plan.make(
            self.grid,
            overrides=self.overrides,
            extra_layers=self.extra_layers,
            devices=devices,
            memory=memory_of(devices),
            measurable=measurable,
        )

    @property
    def targets(self) -> list[str]:
        """The import targets of the layers of all cases, whatever devices there will turn out to be."""
        plans = (self.plan(devices, measurable=False) for devices in (("cpu",), ("cpu", "cuda")))
        return list(dict.fromkeys(layer.target for plan in plans for layer in plan.layers))


def memory_of(devices: Sequence[str]) -> dict[str, int]:
    """Returns the bytes of memory of each device, as far as the system tells; of several GPUs any may be meant."""
    from bench import environment  # noqa: PLC0415
    from bench.gpus import gpus  # noqa: PLC0415

    found = {"cpu": environment.comparable_facts()["memory_bytes"]}
    if "cuda" in devices and len(there := gpus()) == 1:
        found["cuda"] = there[0].memory_bytes
    return {device: int(size) for device, size in found.items() if size is not None}


def understand(grid_name: str, settings: Sequence[str], layers: Sequence[str]) -> Asked:
    """Returns what the words mean.

    Raises:
        InputError: an unknown grid, axis, value or layer.
    """
    from bench import grid  # noqa: PLC0415
    from bench.layers import outside  # noqa: PLC0415

    extra = []
    for word in layers:
        like, equals, target = word.rpartition("=")
        name = like if equals else "soft"
        extra.append((name, outside(target, like=name)))
    asked = Asked(grid.load(grid_name), grid.parse_settings(settings), extra)
    asked.plan(("cpu", "cuda"), measurable=False)  # what the machine cannot do is said once it is known
    return asked
