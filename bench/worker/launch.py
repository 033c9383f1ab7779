"""How calls reach the device: one kernel after the other, compiled, or as a captured CUDA graph."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from bench.records import Flag
from bench.worker.finding import Finding, one
from bench.worker.subject import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from bench.records import Task
    from bench.worker.subject import Subject

FIRST_CALLS = 3
"""Calls before a capture, as torch's notes on CUDA graphs ask for: what is made once must not be captured."""


def ready(subject: Subject) -> Callable[[int], object]:
    """Returns the call that is timed, with everything behind it that is done only once.

    Raises:
        UnsupportedError: the layer cannot be captured as a CUDA graph.
    """
    if subject.launch == "graph":
        return graphed(subject)
    subject.call(0)
    return subject.call


def graphed(subject: Subject, cuda: Any = torch.cuda) -> Callable[[int], object]:  # noqa: ANN401  (or a fake of it)
    """Returns a call that replays one graph per batch, captured from `subject.call` into a pool that they share.

    Every batch has its own graph, so that inputs rotate without a copy in the timed call.

    Raises:
        UnsupportedError: the layer cannot be captured: it waits for the device or moves data to the host.
    """
    beside = cuda.Stream()
    beside.wait_stream(cuda.current_stream())
    with cuda.stream(beside):
        for turn in range(FIRST_CALLS):
            subject.call(turn)
    cuda.current_stream().wait_stream(beside)
    graphs: list[Any] = []
    for turn in range(len(subject.batches)):
        graph = cuda.CUDAGraph()
        try:
            # a capture that fails at its end leaves its own stream current
            with cuda.stream(cuda.current_stream()), cuda.graph(graph, pool=graphs[0].pool() if graphs else None):
                subject.call(turn)
        except RuntimeError as error:
            # where the capture's end fails too, the error that ended the call stands behind it
            first = error.__context__ if isinstance(error.__context__, RuntimeError) else error
            if isinstance(first, torch.OutOfMemoryError):
                raise first from None
            words = str(first).strip().splitlines() or [type(first).__name__]
            raise UnsupportedError(f"launch=graph: the call cannot be captured: {words[0]}") from error
        graphs.append(graph)

    def replay(turn: int) -> None:
        graphs[turn % len(graphs)].replay()

    return replay


def observe(subject: Subject, task: Task) -> Finding:
    """Returns how long compiling takes with empty caches, and into how many graphs; nothing where it is not asked for.

    It must be the first pass: only the first call compiles.
    """
    del task
    if subject.launch != "compile":
        return Finding()
    from torch._dynamo.utils import counters  # noqa: PLC0415  (a second of imports that other cases do without)

    counters.clear()
    with _no_caches():
        began = time.perf_counter()
        subject.call(0)
        subject.synchronize()
        first = time.perf_counter() - began
    began = time.perf_counter()
    subject.call(0)
    subject.synchronize()
    again = time.perf_counter() - began
    breaks = sum(counters["graph_break"].values())
    return Finding(
        observations=one("compile_time", "s", max(0.0, first - again)),
        flags=(Flag("graph_breaks", f"{breaks}: {next(iter(counters['graph_break'])).splitlines()[0]}"),)
        if breaks
        else (),
        facts={"compiled_graphs": counters["stats"]["unique_graphs"], "graph_breaks": breaks},
    )


@contextmanager
def _no_caches() -> Iterator[None]:
    """Lets inductor compile anew for the length of a block, whatever earlier processes left on the disk."""
    from torch._inductor import config  # noqa: PLC0415

    with config.patch(force_disable_caches=True):
        yield
