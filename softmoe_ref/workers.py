"""Threads that take whole pieces of work from one list, each computing on its own.

torch's own parallelism cuts every product into as many parts as there are threads and waits for the last part. A
stack of experts falls into pieces by itself: a thread that takes a whole expert never waits for another, and keeps the
expert's rows in its own cache.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch

Item = TypeVar("Item")


class _Pool:
    """The threads of this process, started when first needed, anew for another number of threads."""

    def __init__(self) -> None:
        self.threads = 0
        self.executor: ThreadPoolExecutor | None = None

    def of(self, threads: int) -> ThreadPoolExecutor:
        """Return a pool of this many threads, each of which computes alone."""
        if self.executor is None or self.threads != threads:
            if self.executor is not None:
                self.executor.shutdown()
            self.threads = threads
            self.executor = ThreadPoolExecutor(threads, "softmoe-expert", initializer=_compute_alone)
            everyone = Barrier(threads)  # until all have started
            for ready in [self.executor.submit(everyone.wait) for _ in range(threads)]:
                ready.result()
            torch.set_num_threads(threads)  # what later threads of others start with is one number for the process
        return self.executor

    def forget(self) -> None:
        """Drop the threads without waiting: after a fork they are not there."""
        self.executor = None


_POOL = _Pool()
os.register_at_fork(after_in_child=_POOL.forget)


def run(work: Callable[[Iterator[Item]], None], items: Sequence[Item]) -> None:
    """Call `work` once on every thread, each with the same iterator over `items`: who is free takes the next one.

    One thread, or a dispatch mode that only sees its own thread (a counter of FLOPs), makes it a plain call.
    """
    threads = torch.get_num_threads()
    shared = iter(items)
    if threads == 1 or len(items) == 1 or _is_watched():
        work(shared)
        return
    for done in [_POOL.of(threads).submit(work, shared) for _ in range(threads)]:
        done.result()


def _compute_alone() -> None:
    """Let this thread's operations take no further threads."""
    torch.get_num_threads()  # torch gives a thread the process' number when it first asks, whatever was set before
    torch.set_num_threads(1)


def _is_watched() -> bool:
    return bool(torch._C._len_torch_dispatch_stack())  # noqa: SLF001 - torch has no public question for it
