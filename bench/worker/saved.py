"""How many bytes one forward call saves for the backward pass: its own pass, nothing else is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakSet

import torch
from torch.autograd.graph import saved_tensors_hooks

from bench.worker.finding import Finding, one

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.records import Task
    from bench.worker.subject import Subject


@dataclass(frozen=True, eq=False)
class Kept:
    """A tensor that the graph holds on to; it is gone when the graph has let go of it."""

    tensor: torch.Tensor


def observe(subject: Subject, task: Task) -> Finding:
    """Returns bytes that a forward call saves for the backward pass; nothing in a mode without one."""
    del task
    if subject.mode == "forward":
        return Finding()
    return Finding(one("saved_memory", "B", saved_bytes(subject.layer, subject.batches[0])))


def saved_bytes(layer: torch.nn.Module, x: torch.Tensor) -> int | None:
    """Returns bytes that the graph of `layer(x)` keeps, without those of the layer itself and of `x`.

    Counted is memory, not tensors: a view keeps all of what it is a view of, and what several operations save is there
    once. What a custom Function gives to `ctx.save_for_backward` is among it, and so are the inputs of a checkpoint.
    Not seen is what a layer keeps in another way: a tensor that is an attribute of `ctx` or caught in a closure, and
    what it puts away with hooks of its own. None where a tensor has no memory of its own to point at (a sparse one).
    """
    alive: WeakSet[Kept] = WeakSet()

    def pack(tensor: torch.Tensor) -> Kept:
        kept = Kept(tensor.detach())  # a result that is saved with its history would keep itself alive
        alive.add(kept)
        return kept

    with torch.enable_grad(), saved_tensors_hooks(pack, lambda kept: kept.tensor):
        output = layer(x)
    tensors = [kept.tensor for kept in alive]
    del output
    if any(tensor.layout is not torch.strided for tensor in tensors):
        return None
    there = _memory([*layer.parameters(), *layer.buffers(), x])
    return sum(size for start, size in _memory(tensors).items() if start not in there)


def _memory(tensors: Iterable[torch.Tensor]) -> dict[int, int]:
    """Returns start and size in bytes of each piece of memory that the tensors lie in."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    return {storage.data_ptr(): storage.nbytes() for storage in storages if storage.nbytes()}
