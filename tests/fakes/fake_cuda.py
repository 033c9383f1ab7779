"""A CUDA device that is not here: a host that launches and a device that works through its queue, both in fake time."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

from bench.worker.clock import SPIN_HZ

if TYPE_CHECKING:
    from collections.abc import Iterator


class FakeCuda:
    """What is used of torch.cuda. `host` and `device` are the seconds at which each is done with all it was told."""

    def __init__(self, launch: float = 5e-6) -> None:
        self.host = self.device = 0.0
        self.launch = launch
        self.log: list[str] = []
        self.capture_fails_at_its_end = False

    def now(self) -> float:
        return self.host

    def kernel(self, seconds: float) -> None:
        """Launches a kernel; the device begins when it has nothing else to do."""
        self.host += self.launch
        self.device = max(self.device, self.host) + seconds

    def wait(self) -> None:
        """Lets the host wait for the device, as `.item()` does."""
        self.host = max(self.host, self.device)

    def synchronize(self, _device: object = None) -> None:
        self.wait()

    def _sleep(self, cycles: int) -> None:
        self.log.append("hold")
        self.device = max(self.device, self.host) + cycles / SPIN_HZ

    def Event(self, *, enable_timing: bool) -> FakeEvent:  # noqa: N802
        assert enable_timing
        return FakeEvent(self)

    # graphs

    def Stream(self) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(wait_stream=lambda _other: self.log.append("wait"))

    def current_stream(self) -> SimpleNamespace:
        return self.Stream()

    @contextmanager
    def stream(self, _stream: object) -> Iterator[None]:
        self.log.append("beside")
        try:
            yield
        finally:
            self.log.append("back")

    def CUDAGraph(self) -> FakeGraph:  # noqa: N802
        return FakeGraph(self)

    @contextmanager
    def graph(self, graph: FakeGraph, *, pool: object) -> Iterator[None]:
        self.log.append(f"capture into {pool}")
        try:
            yield
        finally:
            if self.capture_fails_at_its_end:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        graph.number = sum(entry.startswith("capture") for entry in self.log)


class FakeEvent:
    """A mark in the device's queue."""

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda, self.time = cuda, 0.0

    def record(self) -> None:
        self.time = max(self._cuda.device, self._cuda.host)

    def query(self) -> bool:
        return self.time <= self._cuda.host

    def synchronize(self) -> None:
        self._cuda.host = max(self._cuda.host, self.time)

    def elapsed_time(self, end: FakeEvent) -> float:
        return (end.time - self.time) * 1e3


class FakeGraph:
    """A captured graph, which writes down that it was replayed."""

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda, self.number = cuda, 0

    def pool(self) -> str:
        return f"the pool of graph {self.number}"

    def replay(self) -> None:
        self._cuda.log.append(f"replay {self.number}")
