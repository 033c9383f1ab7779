"""What timing says of itself, and the stopwatches."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fake_cuda import FakeCuda
from recorded import SETTINGS, soft

from bench import plan
from bench.records import Flag
from bench.worker import timing
from bench.worker.clock import UNKNOWN_CACHE_BYTES, CpuClock, CudaClock, last_cache_bytes
from bench.worker.launch import graphed
from bench.worker.sampling import Samples, WarmUp
from bench.worker.subject import UnsupportedError, build


def test_the_processor_s_clock_times_what_is_called() -> None:
    seen: list[int] = []
    seconds = CpuClock().block(seen.append, 3, 4)
    assert seen == [3, 4, 5, 6]
    assert seconds > 0


def test_flushing_writes_more_than_the_last_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.worker.clock.last_cache_bytes", lambda: 1 << 20)
    clock = CpuClock()
    clock.flush()
    first = clock._rubbish
    clock.flush()
    assert first is not None
    assert clock._rubbish is first
    assert first.numel() * 4 == 2 << 20
    assert float(first.min()) == 2.0


def test_the_size_of_the_last_cache(tmp_path: Path) -> None:
    for index, size in enumerate(("32K", "1024K", "36M")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(f"{size}\n")
    assert last_cache_bytes(tmp_path) == 36 * 2**20
    assert last_cache_bytes(tmp_path / "nothing") == UNKNOWN_CACHE_BYTES


def test_the_garbage_collector_is_on_again_afterwards() -> None:
    import gc

    task = plan.task(soft(), 1, SETTINGS)
    timing.observe(build(task), task)
    assert gc.isenabled()


def found(layer: tuple[float, ...], *, wall: tuple[float, ...] = (), starved: int = 0, iterations: int = 1) -> Samples:
    """Samples that were not taken, of a process that ran out of time."""
    return Samples(layer, layer, "time limit", WarmUp(iterations, 0, 3, 0.1, steady=True), wall, starved=starved)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (found((1.0,) * 8), []),
        (found((1.0, 1.2) * 4), [Flag("time_limit", "8 samples, ±9%")]),
        (found((1.0,) * 3), [Flag("time_limit", "3 samples")]),
        (found((1.0,)), [Flag("time_limit", "1 sample")]),
        (found((1.0,) * 8, wall=(1.1,) * 8), []),
        (found((1.0,) * 8, wall=(1.5,) * 8), [Flag("launch_bound", "1.5 times as long on the wall clock")]),
        (found((1.0,) * 8, wall=(1.0,) * 8, starved=4), []),
        (
            found((1.0,) * 8, wall=(1.0,) * 8, starved=6),
            [Flag("launch_bound", "the device waited for the host in 75% of the samples")],
        ),
        (found((1e-4,) * 8), []),
        (found((1e-5,) * 8), [Flag("coarse_clock", "timing adds 1.0%")]),
        (found((1e-5,) * 8, iterations=100), []),
    ],
)
def test_what_a_process_says_of_its_samples(samples: Samples, expected: list[Flag]) -> None:
    assert timing.flags(samples, overhead=1e-7) == expected


def test_what_is_stored_beside_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = Samples(
        (1.0,) * 10, (2.0,) * 10, "precise", WarmUp(4, 40, 7, 0.2, steady=False), (1.5,) * 10, preempted=(3,), starved=2
    )
    monkeypatch.setattr(timing, "sample", lambda *_, **__: samples)
    task = plan.task(soft(), 1, SETTINGS)
    finding = timing.observe(build(task), task)
    assert {o.metric: o.samples[0] for o in finding.observations} == {
        "latency": 1.0,
        "wall_latency": 1.5,
        "reference_latency": 2.0,
    }
    facts = finding.facts
    assert (facts["iterations"], facts["stopped_by"], facts["half_width"]) == (4, "precise", 0.0)
    assert (facts["warm_up_blocks"], facts["warm_up_seconds"], facts["warm_up_steady"]) == (7, 0.2, False)
    assert (facts["starved_samples"], facts["serial_correlation"]) == (2, None)
    assert facts["marks"]["preempted"] == [3]
    assert 0 < facts["timer_overhead"] < 1e-4


# A device that is not here


def clock_of(cuda: FakeCuda) -> CudaClock:
    return CudaClock(torch.device("cuda"), cuda, cuda.now)


def test_the_queue_is_filled_before_the_device_begins() -> None:
    """A kernel of 2 microseconds that takes 5 to launch: events alone would time the launches."""
    cuda = FakeCuda(launch=5e-6)
    clock = clock_of(cuda)
    seconds = [clock.block(lambda _: cuda.kernel(2e-6), 0, 100) for _ in range(3)]
    assert seconds[0] > 4.9e-6
    assert seconds[-1] == pytest.approx(2e-6)
    assert not clock.starved
    assert clock.wall(lambda _: cuda.kernel(2e-6), 0, 100) == pytest.approx(5.02e-6)


def test_a_device_that_is_never_short_of_work_is_held_back_no_longer_than_needed() -> None:
    cuda = FakeCuda(launch=5e-6)
    clock = clock_of(cuda)
    for _ in range(4):
        seconds = clock.block(lambda _: cuda.kernel(1e-3), 0, 10)
    assert seconds == pytest.approx(1e-3)
    assert clock._hold == pytest.approx(1.5 * 10 * 5e-6)


def test_a_call_that_waits_for_the_device_cannot_be_held_for_and_says_so() -> None:
    def call(_turn: int) -> None:
        cuda.kernel(1e-4)
        cuda.wait()

    cuda = FakeCuda(launch=5e-6)
    clock = clock_of(cuda)
    for _ in range(12):
        seconds = clock.block(call, 0, 10)
    assert clock.starved
    assert clock._hold == 0
    assert seconds == pytest.approx(1.05e-4)
    holds = cuda.log.count("hold")
    clock.block(call, 0, 10)
    assert cuda.log.count("hold") == holds


def test_one_hiccup_of_the_host_does_not_end_the_holding() -> None:
    def stalls(_turn: int) -> None:
        cuda.host += 30e-3

    cuda = FakeCuda(launch=5e-6)
    clock = clock_of(cuda)
    for _ in range(4):
        clock.block(lambda _: cuda.kernel(2e-6), 0, 100)
    clock.block(stalls, 0, 1)
    for _ in range(2):
        seconds = clock.block(lambda _: cuda.kernel(2e-6), 0, 100)
    assert not clock.starved
    assert seconds == pytest.approx(2e-6)


def test_a_device_that_is_slower_than_its_host_is_not_starved_however_many_launches_it_gets() -> None:
    """More launches than any hold covers: the device begins while the host goes on, and still has more to do."""
    cuda = FakeCuda(launch=5e-6)
    clock = clock_of(cuda)
    for _ in range(12):
        seconds = clock.block(lambda _: cuda.kernel(50e-6), 0, 6000)
        assert not clock.starved
    assert seconds == pytest.approx(50e-6, rel=1e-3)


def test_a_graph_is_captured_for_every_batch_after_the_first_calls() -> None:
    cuda = FakeCuda()
    turns: list[int] = []
    task = plan.task(soft(), 1, SETTINGS)
    subject = build(task)
    fake = SimpleNamespace(batches=subject.batches, call=turns.append)
    replay = graphed(fake, cuda)  # type: ignore[arg-type]
    assert turns == [0, 1, 2, 0, 1, 2, 3]
    assert cuda.log == [
        "wait",
        "beside",
        "back",
        "wait",
        "beside",
        "capture into None",
        "back",
        *["beside", "capture into the pool of graph 1", "back"] * 3,
    ]
    for turn in range(5):
        replay(turn)
    assert cuda.log[-5:] == ["replay 1", "replay 2", "replay 3", "replay 4", "replay 1"]


def test_a_layer_that_cannot_be_captured_is_unsupported() -> None:
    def call(turn: int) -> None:
        if turn == 0 and "capture into None" in cuda.log:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nlong advice")

    cuda = FakeCuda()
    fake = SimpleNamespace(batches=(1, 2), call=call)
    with pytest.raises(UnsupportedError, match="cannot be captured: CUDA error: operation not permitted when stream"):
        graphed(fake, cuda)  # type: ignore[arg-type]


@pytest.mark.parametrize("end_fails", [False, True])
def test_a_capture_that_runs_out_of_memory_is_out_of_memory(end_fails: bool) -> None:
    def call(turn: int) -> None:
        if turn == 0 and "capture into None" in cuda.log:
            raise torch.OutOfMemoryError("CUDA out of memory")

    cuda = FakeCuda()
    cuda.capture_fails_at_its_end = end_fails
    fake = SimpleNamespace(batches=(1, 2), call=call)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        graphed(fake, cuda)  # type: ignore[arg-type]


@pytest.mark.gpu
def test_events_time_what_the_device_does() -> None:
    device = torch.device("cuda")
    a = torch.randn(2048, 2048, device=device)
    clock = CudaClock(device)
    one = min(clock.block(lambda _: a @ a, 0, 20) for _ in range(5))
    two = min(clock.block(lambda _: (a @ a) @ a, 0, 20) for _ in range(5))
    assert 1.5 < two / one < 2.5
    clock.flush()
    l2 = torch.cuda.get_device_properties(device).L2_cache_size
    assert clock._rubbish is not None
    assert clock._rubbish.numel() * 4 >= 2 * l2


@pytest.mark.gpu
def test_the_device_is_timed_without_the_host_s_launches() -> None:
    device = torch.device("cuda")
    a = torch.randn(64, 64, device=device)
    clock = CudaClock(device)
    for _ in range(8):
        seconds = clock.block(lambda _: a + a, 0, 200)
    assert not clock.starved
    wall = clock.wall(lambda _: a + a, 0, 200)
    assert wall is not None
    assert seconds < wall


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["forward", "forward_backward", "train_step"])
def test_a_replayed_graph_computes_what_the_layer_does(mode: str) -> None:
    task = plan.task(soft(device="cuda", launch="graph", mode=mode), 1, SETTINGS)
    finding = timing.observe(build(task), task)
    assert min(finding.observations[0].samples) > 0
    assert {o.metric for o in finding.observations} == {"latency", "wall_latency", "reference_latency"}
