"""Energy per call: a device, its counter and the clock are one fake, so that every figure is exact."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from machines import UUID, fake_nvml
from recorded import SETTINGS, soft

from bench import conditions, energy, gpus, plan
from bench.energy import NvmlCounter, RaplCounter
from bench.records import Flag, Task
from bench.watch import GpuWatch
from bench.worker import breakdown, device, main
from bench.worker import energy as energy_pass
from bench.worker.energy import Window, idle_power, look, windows
from bench.worker.finding import Finding
from bench.worker.subject import Subject, build


class Bench:
    """A device of 100 W, 20 W when idle, whose calls take a time of their own and whose counter moves in steps."""

    name = RaplCounter.name

    def __init__(self, *, call: float = 0.25, step: float = 0.125, ends: float = float("inf")) -> None:
        self.time, self.energy, self.calls = 0.0, 0.0, 0
        self._call, self._step, self._ends = call, step, ends
        self._shown = 0.0
        self._next = step
        self.batches: list[int] = []

    def now(self) -> float:
        return self.time

    def joules(self) -> float | None:
        return None if self.time > self._ends else self._shown

    def run(self, calls: int) -> None:
        self.calls += calls
        self.batches.append(calls)
        self._pass(calls * self._call, 100.0)

    def sleep(self, seconds: float) -> None:
        self._pass(seconds, 20.0)

    def _pass(self, seconds: float, watts: float) -> None:
        begin, end = self.time, self.time + seconds
        while self._next <= end:
            self._shown = self.energy + (self._next - begin) * watts
            self._next += self._step
        self.time, self.energy = end, self.energy + seconds * watts


def test_a_window_holds_whole_calls_between_two_steps_of_the_counter() -> None:
    bench = Bench(call=0.25, step=0.125)
    found = windows(bench.run, bench, count=3, seconds=1.0, now=bench.now)
    assert found == (
        Window(calls=4, start=0.25, end=1.25, joules=100.0),
        Window(calls=4, start=1.25, end=2.25, joules=100.0),
        Window(calls=4, start=2.25, end=3.25, joules=100.0),
    )
    assert [window.seconds for window in found] == [1.0, 1.0, 1.0]
    assert bench.calls == 13


def test_a_call_that_is_longer_than_a_window_makes_one_of_its_own() -> None:
    bench = Bench(call=8.0)
    found = windows(bench.run, bench, count=3, seconds=1.0, now=bench.now)
    assert [(window.calls, window.seconds, window.joules) for window in found] == [(1, 8.0, 800.0)] * 3
    assert bench.calls == 4


def test_short_calls_are_looked_at_in_batches_of_a_hundredth_of_a_second() -> None:
    bench = Bench(call=2**-13, step=2**-5)
    found = windows(bench.run, bench, count=3, seconds=1.0, now=bench.now)
    assert bench.batches[:3] == [1, 10, 81]
    assert set(bench.batches[2:]) == {81}
    for window in found:
        assert 1.0 <= window.seconds < 1.0 + 2**-5 + 0.02
        assert window.calls == window.seconds * 2**13
        assert window.joules / window.calls == pytest.approx(100.0 * 2**-13, rel=0.01)


def test_a_slow_first_call_does_not_make_a_batch_of_one_for_ever() -> None:
    bench = Bench(call=2**-10, step=2**-5)
    slow = iter([1.0])

    def run(calls: int) -> None:
        bench.sleep(next(slow, 0.0))
        bench.run(calls)

    windows(run, bench, count=1, seconds=1.0, now=bench.now)
    assert bench.batches[:4] == [1, 1, 10, 10]


def test_steps_longer_than_a_window_lengthen_it() -> None:
    bench = Bench(call=0.125, step=0.75)
    found = windows(bench.run, bench, count=2, seconds=1.0, now=bench.now)
    assert [(window.seconds, window.joules) for window in found] == [(1.5, 150.0)] * 2


def test_a_counter_that_stands_still_gives_no_window_and_is_given_up_after_a_second() -> None:
    bench = Bench(call=0.25, step=1e9)
    assert windows(bench.run, bench, count=3, seconds=1.0, now=bench.now) == ()
    assert bench.time == 1.25


def test_a_counter_that_cannot_be_read_costs_no_call() -> None:
    bench = Bench(ends=-1.0)
    assert windows(bench.run, bench, count=3, seconds=1.0, now=bench.now) == ()
    assert bench.calls == 0


def test_a_counter_that_ends_keeps_the_windows_that_were_whole() -> None:
    bench = Bench(call=0.25, ends=2.5)
    assert len(windows(bench.run, bench, count=3, seconds=1.0, now=bench.now)) == 2


def test_a_counter_that_is_set_back_ends_the_pass() -> None:
    bench = Bench(call=0.25)

    def run(calls: int) -> None:
        bench.run(calls)
        if bench.time == 2.0:
            bench._shown = bench.energy = 0.0

    found = windows(run, bench, count=3, seconds=1.0, now=bench.now)
    assert [window.joules for window in found] == [100.0]
    assert bench.time == 2.0


def test_idle_power_is_that_of_a_device_without_work() -> None:
    bench = Bench(step=2**-6)
    assert idle_power(bench, now=bench.now, sleep=bench.sleep) == pytest.approx(20.0, rel=0.03)
    assert bench.calls == 0
    assert bench.time < 0.7


def test_a_counter_that_stands_still_has_no_idle_power() -> None:
    bench = Bench(step=1e9)
    assert idle_power(bench, now=bench.now, sleep=bench.sleep) is None


# the pass


@pytest.fixture
def task() -> Task:
    return plan.task(soft(), 0, SETTINGS)


def subject_of(bench: Bench, task: Task) -> tuple[Subject, list[int]]:
    """A subject whose calls take the fake's time, and the turns that it was called with."""
    turns: list[int] = []

    class Counted(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bench.run(1)
            turns.append(int(x.sum()))
            return x

    batches = tuple(torch.full((1, 1, 1), float(turn)) for turn in range(4))
    return replace(build(task), layer=Counted(), batches=batches), turns


QUIET = replace(conditions.read(), batteries=(), governor=None, busy_s=0.0)
LATER = replace(QUIET, monotonic_s=QUIET.monotonic_s + 2.0, wall_s=QUIET.wall_s + 2.0)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "read", iter([QUIET, LATER]).__next__)


def observed(bench: Bench, task: Task, watch: GpuWatch | None = None) -> Finding:
    return look(subject_of(bench, task)[0], bench, watch or GpuWatch(None), now=bench.now, sleep=bench.sleep)


def test_energy_and_time_of_a_call_are_observed_with_idle_power_apart(task: Task) -> None:
    bench = Bench(call=0.25, step=2**-6)
    finding = observed(bench, task)
    assert {o.metric: (o.unit, o.samples) for o in finding.observations} == {
        "energy": ("J", pytest.approx((25.0, 25.0, 25.0), rel=0.02)),
        "energy_time": ("s", pytest.approx((0.25, 0.25, 0.25))),
    }
    assert finding.flags == ()
    assert finding.facts == {
        "energy_counter": "RAPL energy of the processor packages",
        "idle_power_w": pytest.approx(20.0, rel=0.05),
        "energy_calls": [4, 4, 4],
    }


def test_calls_of_the_energy_pass_take_turns(task: Task) -> None:
    bench = Bench(call=0.25, step=2**-6)
    subject, turns = subject_of(bench, task)
    look(subject, bench, GpuWatch(None), now=bench.now, sleep=bench.sleep)
    assert turns == [turn % 4 for turn in range(13)]


def test_the_counter_is_read_when_the_device_has_done_the_calls(monkeypatch: pytest.MonkeyPatch, task: Task) -> None:
    log: list[str] = []
    monkeypatch.setattr(Subject, "synchronize", lambda _subject: log.append("waited"))

    class Logged(Bench):
        def joules(self) -> float | None:
            log.append("read")
            return super().joules()

        def run(self, calls: int) -> None:
            log.append("called")
            super().run(calls)

    observed(Logged(call=0.25, step=2**-6), task)
    calls = log[log.index("called") - 1 :]
    assert calls == ["read", *["called", "waited", "read"] * 13]


@pytest.mark.parametrize("bench", [Bench(ends=-1.0), Bench(step=1e9)], ids=["unreadable", "standing still"])
def test_a_counter_that_counts_nothing_leaves_no_figure_and_costs_no_call(bench: Bench, task: Task) -> None:
    finding = observed(bench, task)
    assert (finding.observations, finding.flags, finding.facts) == ((), (), {})
    assert bench.calls == 0


def test_without_a_counter_nothing_is_called_or_waited_for(monkeypatch: pytest.MonkeyPatch, task: Task) -> None:
    monkeypatch.setattr(energy_pass, "cpu_counter", lambda: None)
    monkeypatch.setattr(energy_pass, "look", None)
    subject, turns = subject_of(Bench(), task)
    assert energy_pass.observe(subject, task).observations == ()
    assert turns == []


def test_a_counter_that_ends_before_a_window_is_whole_leaves_no_figure(task: Task) -> None:
    bench = Bench(call=0.25, step=2**-6, ends=1.5)
    assert observed(bench, task).observations == ()
    assert bench.calls > 0


def test_processors_that_others_use_share_their_energy(monkeypatch: pytest.MonkeyPatch, task: Task) -> None:
    monkeypatch.setattr(conditions, "read", iter([QUIET, replace(LATER, busy_s=3.0)]).__next__)
    assert observed(Bench(step=2**-6), task).flags == (Flag("energy_shared", "1.5 cores in use by others"),)


def test_a_gpu_that_others_use_shares_its_energy_whatever_processors_do(
    monkeypatch: pytest.MonkeyPatch, task: Task
) -> None:
    monkeypatch.setattr(conditions, "read", iter([QUIET, replace(LATER, busy_s=3.0)]).__next__)
    bench = Bench(step=2**-6)
    bench.name = NvmlCounter.name
    pids = [SimpleNamespace(pid=-7), SimpleNamespace(pid=-8)]
    nvml = fake_nvml(nvmlDeviceGetComputeRunningProcesses=lambda _: pids)
    watch = GpuWatch(UUID, nvml=nvml, interval=3600.0, now=bench.now)
    assert observed(bench, task, watch).flags == (Flag("energy_shared", "1 beside this one, in 2 of 2 readings"),)


def test_slow_calls_get_fewer_windows_rather_than_the_whole_timeout() -> None:
    time = iter(range(0, 10_000, 10))
    counter = SimpleNamespace(name="test", joules=iter(range(10_000)).__next__)
    found = windows(lambda _calls: None, counter, count=3, seconds=1.0, limit=45.0, now=lambda: float(next(time)))
    assert len(found) < 3


def test_a_case_on_a_processor_is_looked_at_with_its_counter(monkeypatch: pytest.MonkeyPatch, task: Task) -> None:
    bench, seen = Bench(), []
    monkeypatch.setattr(energy_pass, "cpu_counter", lambda: bench)
    monkeypatch.setattr(
        energy_pass, "look", lambda _subject, counter, _watch, *, limit: seen.append((counter, limit)) or Finding()
    )
    energy_pass.observe(build(task), task)
    assert seen == [(bench, 0.1 * task.settings.timeout)]


def test_a_gpu_s_counter_is_found_by_its_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    @contextmanager
    def gpu_counter(uuid: str) -> Iterator[None]:
        asked.append(uuid)
        yield None

    monkeypatch.setattr(energy_pass, "gpu_counter", gpu_counter)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: SimpleNamespace(uuid=UUID[4:]))
    with energy_pass._counter(torch.device("cuda")) as counter:
        assert counter is None
    assert asked == [UUID[4:]]


def test_energy_is_looked_at_late_for_it_heats_the_device() -> None:
    assert main.INSPECT[-2:] == (energy_pass.observe, breakdown.observe)


# the device


def test_who_was_there_before_is_asked_before_the_first_use_of_cuda_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "holders", lambda: frozenset({7}))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert device.processes_before() == {7}
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert device.processes_before() is None


def test_a_processor_has_no_uuid() -> None:
    assert device.uuid(torch.device("cpu")) is None


@pytest.mark.gpu
def test_the_real_counter_counts_or_says_nothing() -> None:
    task = plan.task(soft().with_axes(device="cuda"), 0, SETTINGS)
    finding = energy_pass.observe(build(task), task)
    found = {o.metric: o.samples for o in finding.observations}
    assert set(found) in ({"energy", "energy_time"}, set())
    if found:
        powers = [joules / seconds for joules, seconds in zip(found["energy"], found["energy_time"], strict=True)]
        assert len(powers) == 3
        assert all(5 < power < 3000 for power in powers)
        assert finding.facts["idle_power_w"] > 0


@pytest.mark.skipif(energy.cpu_counter() is None, reason="no processor here shows its energy")
def test_the_real_processors_count() -> None:
    idle = idle_power(energy.RaplCounter(), now=time.perf_counter, sleep=time.sleep)
    assert idle is not None
    assert 0.1 < idle < 3000
