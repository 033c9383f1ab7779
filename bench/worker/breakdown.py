"""Where the time of a forward pass goes: router, dispatch, experts, combine, and what is left.

A pass of its own. Hooks are put around a layer's phases and taken away again, so that no other pass pays for them and a
layer holds nothing for it. Only the layers of `softmoe_ref` have phases that are known; a compiled or captured call has
none that could be told apart. A phase that computes nothing, because another one does its work, is unknown, not zero.
"""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench import layers
from bench.records import Observation
from bench.worker import memory
from bench.worker.clock import LONGEST_HOLD, SPIN_HZ, clock_for
from bench.worker.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.records import Task
    from bench.worker.subject import Subject

SECONDS = 0.2
"""Time for the calls of a case."""

FEWEST = 3
"""Calls for which there is more time, since one of three may be disturbed."""

LONGEST_SHARE = 0.05
"""Share of a process' timeout that these may take."""

WHOLE, REST = "profiled", "other"
"""A whole call, and what of it belongs to no phase: checks, conversions, and watching itself."""


class Meter(Protocol):
    """Something that grows during a call, read where its phases begin and end: time, or operators."""

    def begin(self) -> None:
        """Makes ready for a call."""

    def read(self) -> Any:  # noqa: ANN401  (a number, or a mark in the queue of a device)
        """Returns where it stands."""

    def end(self) -> None:
        """Waits until every reading of the call can be used."""

    def between(self, start: Any, end: Any) -> float:  # noqa: ANN401
        """Returns by how much it grew from one reading to another."""


class Nanoseconds:
    """The process' clock, for a CPU."""

    def begin(self) -> None:
        """Needs nothing."""

    def read(self) -> int:
        """Returns whole nanoseconds, so that phases add up."""
        return time.perf_counter_ns()

    def end(self) -> None:
        """Needs nothing."""

    def between(self, start: int, end: int) -> float:
        """Returns seconds."""
        return (end - start) * 1e-9


class Events:
    """Events in a CUDA device's queue, which is held back while the host fills it: see `bench.worker.clock`."""

    def __init__(
        self,
        cuda: Any = torch.cuda,  # noqa: ANN401  (or a fake of it)
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._cuda = cuda
        self._now = now
        self._host = self._began = 0.0

    def begin(self) -> None:
        """Holds the device for somewhat longer than the host took to launch the call before."""
        self._cuda._sleep(int(min(LONGEST_HOLD, 1.5 * self._host) * SPIN_HZ))  # noqa: SLF001
        self._began = self._now()

    def read(self) -> Any:  # noqa: ANN401
        """Returns an event, recorded now."""
        event = self._cuda.Event(enable_timing=True)
        event.record()
        return event

    def end(self) -> None:
        """Waits for the device."""
        self._host = self._now() - self._began
        self._cuda.synchronize()

    def between(self, start: Any, end: Any) -> float:  # noqa: ANN401
        """Returns seconds of the device."""
        return float(start.elapsed_time(end)) * 1e-3


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators that do more than look at memory in another shape."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._count = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever the operator returns)
        del types
        self._count += not getattr(func, "is_view", False)
        return func(*args, **(kwargs or {}))

    def begin(self) -> None:
        """Needs nothing."""

    def read(self) -> int:
        """Returns how many there were."""
        return self._count

    def end(self) -> None:
        """Needs nothing."""

    def between(self, start: int, end: int) -> float:
        """Returns how many there were in between."""
        return float(end - start)


@dataclass(frozen=True)
class Record:
    """Which phases a call went through: name and the readings of a meter at both ends."""

    meter: Meter
    spans: list[tuple[str, Any, Any]] = field(default_factory=list)

    @contextmanager
    def span(self, phase: str) -> Iterator[None]:
        """Records a block as a phase of the call."""
        start = self.meter.read()
        yield
        self.spans.append((phase, start, self.meter.read()))

    def hook(self, module: torch.nn.Module, phase: str, then: Callable[[Any], Any] | None = None) -> list[Any]:
        """Records each call of a module, whose output `then` may replace; returns handles that end it."""
        starts: list[Any] = []

        def before(_module: torch.nn.Module, _args: object) -> None:
            starts.append(self.meter.read())

        def after(_module: torch.nn.Module, _args: object, output: Any) -> Any:  # noqa: ANN401
            self.spans.append((phase, starts.pop(), self.meter.read()))
            return output if then is None else then(output)

        return [module.register_forward_pre_hook(before), module.register_forward_hook(after)]


@dataclass(frozen=True)
class Watched:
    """A routing decision that records its dispatch and combine."""

    decision: Any
    record: Record

    def dispatch(self, x: Any) -> Any:  # noqa: ANN401
        """Returns what the decision does."""
        with self.record.span("dispatch"):
            return self.decision.dispatch(x)

    def combine(self, y: Any) -> Any:  # noqa: ANN401
        """Returns what the decision does."""
        with self.record.span("combine"):
            return self.decision.combine(y)


def observe(subject: Subject, task: Task) -> Finding:
    """Returns seconds of each phase of a forward pass and of the whole of it; nothing where phases are unknown."""
    if subject.launch != "eager" or task.case.get("backend") == "compile" or not _is(subject.layer, *layers.PHASED):
        return Finding()
    memory.keep_freed()  # as in the processes that time the case
    with torch.no_grad(), Operators() as operators:  # in inference mode it would see reshape, not whether that copies
        computing = [phase for phase, count in split(subject, 0, operators).items() if count and phase != WHOLE]
    if len(computing) < 2:
        return Finding()
    meter = Events() if subject.device.type == "cuda" else Nanoseconds()
    calls = _calls(subject, meter, LONGEST_SHARE * task.settings.timeout)
    seconds = together(calls, computing)
    return Finding(
        observations=tuple(Observation(f"{phase}_time", "s", (value,)) for phase, value in seconds.items()),
        facts={"profiled_calls": len(calls)},
    )


def split(subject: Subject, turn: int, meter: Meter) -> dict[str, float]:
    """Returns how much of a meter each phase of one forward pass takes, and the whole; no hook stays behind."""
    record = Record(meter)
    x = subject.batches[turn % len(subject.batches)]
    handles = _hooks(subject.layer, record)
    try:
        meter.begin()
        with record.span(WHOLE):
            output = subject.layer(x)
        meter.end()
    finally:
        for handle in handles:
            handle.remove()
    del output  # what it holds is freed after the last reading
    found: dict[str, float] = {}
    for phase, start, end in record.spans:
        found[phase] = found.get(phase, 0.0) + meter.between(start, end)
    return found


def together(calls: Sequence[Mapping[str, float]], phases: Sequence[str]) -> dict[str, float]:
    """Returns the median of each phase and of the rest over some calls, and as the whole their sum.

    What interrupts a call falls into one of its phases, into another one in the next call: medians of phases leave it
    out where every call as a whole is too long.
    """
    found = {phase: median(call[phase] for call in calls) for phase in phases}
    rest = median(call[WHOLE] - sum(call[phase] for phase in phases) for call in calls)
    found[REST] = max(0.0, rest)  # of events, whose resolution is coarse
    return {**found, WHOLE: sum(found.values())}


def _calls(subject: Subject, meter: Meter, limit: float) -> list[dict[str, float]]:
    """Returns as many calls as fit into the time, each in phases; a few more of slow ones, until so many seconds."""
    calls: list[dict[str, float]] = []
    clock = clock_for(subject.device)
    gc.disable()
    began = time.perf_counter()
    try:
        while not calls or time.perf_counter() - began < (SECONDS if len(calls) >= FEWEST else limit):
            if subject.cold:
                clock.flush()
            with torch.inference_mode(subject.mode == "forward"):
                calls.append(split(subject, len(calls), meter))
    finally:
        gc.enable()
    return calls


def _hooks(layer: Any, record: Record) -> list[Any]:  # noqa: ANN401  (a layer or model of softmoe_ref)
    """Returns the handles of what watches the phases of a layer, or of the blocks of a model."""
    if not hasattr(layer, "blocks"):
        return _hooks_of_layer(layer, record)
    handles = []
    for block in layer.blocks:
        handles += record.hook(block.attention, "attention")
        if block.feed_forward.name in layers.DENSE:
            handles += record.hook(block.feed_forward, "dense")
        else:
            handles += _hooks_of_layer(block.feed_forward, record)
    return handles


def _hooks_of_layer(layer: Any, record: Record) -> list[Any]:  # noqa: ANN401
    """Returns the handles of what watches the phases of one layer; experts that all tokens share are experts, too."""
    handles = record.hook(layer.router, "router", lambda decision: Watched(decision, record))
    handles += record.hook(layer.experts, "experts")
    return handles if layer.shared is None else handles + record.hook(layer.shared, "experts")


def _is(layer: torch.nn.Module, *targets: str) -> bool:
    """Whether a layer is of one of the classes that some targets name, without importing any."""
    return f"{type(layer).__module__}:{type(layer).__qualname__}" in targets
