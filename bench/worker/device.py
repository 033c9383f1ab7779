"""Which device a subject runs on, as its driver knows it, and who was there before."""

from __future__ import annotations

import torch

from bench import gpus


def uuid(device: torch.device) -> str | None:
    """Returns the UUID of a CUDA device, None for a CPU; indices would be those that CUDA_VISIBLE_DEVICES leaves."""
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else None


def processes_before() -> frozenset[int] | None:
    """Returns the processes on any GPU before this one uses it; None where it already does, or none can be asked."""
    used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return None if used else gpus.holders()
