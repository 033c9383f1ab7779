"""What torch says of this machine, and what arithmetic a subject was measured with."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from bench.worker.device import uuid
from bench.worker.subject import Subject, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence


def probe(targets: Sequence[str]) -> dict[str, Any]:
    """Returns devices, torch's part of the fingerprint, and one line for each import target that cannot be reached."""
    gpu = uuid(torch.device("cuda")) if torch.cuda.is_available() else None
    return {"devices": devices(), "comparable": comparable(), "problems": _problems(targets), "gpu": gpu}


def devices() -> list[str]:
    """Returns the devices that a case may name here."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def comparable() -> dict[str, Any]:
    """Returns the facts of torch that must agree for two runs to be compared; the GPU's own come from its driver."""
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }
    if torch.cuda.is_available():
        found |= {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "tf32": torch.backends.cuda.matmul.allow_tf32,
        }
    return found


def arithmetic(subject: Subject) -> dict[str, Any]:
    """Returns how many threads and which number format the subject was measured with."""
    return {"threads": torch.get_num_threads(), "dtype": str(subject.batches[0].dtype).removeprefix("torch.")}


def _problems(targets: Sequence[str]) -> list[str]:
    """Returns a line for each target that cannot be imported."""
    problems = []
    for target in targets:
        try:
            found: object = resolve(target)
        except ModuleNotFoundError as error:
            problems.append(f"layer {target}: there is no module {error.name} (searched: here and installed packages)")
        except AttributeError:
            module, _, name = target.partition(":")
            problems.append(f"layer {target}: module {module} has no {name}")
        except Exception as error:  # noqa: BLE001  (importing somebody's module may raise anything)
            problems.append(f"layer {target}: importing it raises {type(error).__name__}: {error}")
        else:
            if not callable(found):
                problems.append(f"layer {target}: is no factory, it cannot be called")
    return problems


def files(targets: Sequence[str]) -> dict[str, str]:
    """Returns the source file of each import target; one that cannot be reached or has none is absent."""
    found = {}
    for target in targets:
        with suppress(Exception):  # importing a layer may raise anything; who measures it will say what
            found[target] = inspect.getsourcefile(inspect.unwrap(resolve(target)))
    return {target: file for target, file in found.items() if file}
