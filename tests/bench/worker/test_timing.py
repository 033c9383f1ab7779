"""Rules of sampling, on a clock that only moves when told to."""

from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest
from recorded import SETTINGS, soft

from bench import plan
from bench.records import Settings
from bench.worker import timing
from bench.worker.clock import UNKNOWN_CACHE_BYTES, CpuClock, last_cache_bytes
from bench.worker.subject import build


class FakeClock:
    """A call takes what `durations` says next; time passes only in blocks and flushes."""

    least_block = 4e-3

    def __init__(self, durations: Iterator[float], reference: float = 1e-3) -> None:
        self.time = 0.0
        self._durations, self._reference = durations, reference
        self.log: list[str] = []
        self.turns: list[int] = []

    def block(self, call: Callable[[int], object], first: int, iterations: int) -> float:
        kind = str(call(first))
        seconds = next(self._durations) if kind == "layer" else self._reference
        self.time += seconds * iterations
        self.log.append(f"{kind}x{iterations}")
        if kind == "layer":
            self.turns.append(first)
        return seconds

    def flush(self) -> None:
        self.log.append("flush")


def layer(_turn: int) -> str:
    return "layer"


def reference(_turn: int) -> str:
    return "reference"


def sample(clock: FakeClock, settings: Settings, *, cold: bool = False) -> timing.Samples:
    return timing.sample(layer, reference, clock, settings, cold=cold, now=lambda: clock.time)


def test_a_steady_layer_is_sampled_as_often_as_asked_and_no_more() -> None:
    clock = FakeClock(repeat(1e-3))
    found = sample(clock, Settings(min_samples=10, max_seconds=9.0))
    assert (len(found.layer), len(found.reference), found.reason) == (10, 10, "precise")
    assert found.layer == (1e-3,) * 10
    assert found.reference == (1e-3,) * 10


def test_a_block_is_at_least_as_long_as_the_clock_needs() -> None:
    assert sample(FakeClock(repeat(1e-3)), Settings()).iterations == 4
    assert sample(FakeClock(repeat(1e-5)), Settings()).iterations == 400
    assert sample(FakeClock(repeat(5e-3)), Settings()).iterations == 1


def test_the_reference_follows_every_sample() -> None:
    clock = FakeClock(repeat(5e-3))
    sample(clock, Settings(min_samples=10, max_seconds=9.0))
    assert clock.log[-6:] == ["layerx1", "referencex4"] * 3


def test_a_noisy_layer_is_sampled_until_the_time_is_up() -> None:
    durations = chain.from_iterable(repeat((1e-2, 3e-2)))
    clock = FakeClock(durations)
    found = sample(clock, Settings(min_samples=10, max_seconds=2.0))
    assert found.reason == "time limit"
    assert sum(found.layer) <= 2.0 + 4e-2
    assert len(found.layer) > 50


def test_one_sample_is_taken_however_slow_the_layer_is() -> None:
    found = sample(FakeClock(repeat(60.0)), Settings(max_seconds=1.0))
    assert found.layer == (60.0,)
    assert found.reason == "time limit"


def test_warm_up_goes_on_until_three_blocks_agree() -> None:
    falling = [9e-3, 8e-3, 7e-3, 6e-3, 5e-3]
    clock = FakeClock(chain(falling, repeat(5e-3)))
    found = sample(clock, Settings(min_samples=10, max_seconds=9.0))
    assert found.layer == (5e-3,) * 10


def test_warm_up_is_capped_by_time() -> None:
    never_steady = chain.from_iterable(repeat((0.1, 0.2, 0.3)))
    clock = FakeClock(never_steady)
    sample(clock, Settings(max_seconds=2.0))
    before_first_reference = clock.log.index("referencex1")
    assert before_first_reference <= 8


def test_cold_caches_mean_a_flush_before_every_single_call_warm_up_included() -> None:
    clock = FakeClock(repeat(1e-5))
    found = sample(clock, Settings(min_samples=10, max_seconds=9.0), cold=True)
    assert found.iterations == 1
    calls = [entry for entry in clock.log if not entry.startswith("reference")]
    assert calls[::2] == ["flush"] * (len(calls) // 2)
    assert calls[1::2] == ["layerx1"] * (len(calls) // 2)


def test_turns_go_on_so_that_inputs_rotate() -> None:
    clock = FakeClock(repeat(1e-3))
    sample(clock, Settings(min_samples=10, max_seconds=9.0))
    assert clock.turns[0] == 0
    assert clock.turns[1] == 1
    assert clock.turns[2:] == list(range(5, 5 + 4 * (len(clock.turns) - 2), 4))


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


def test_a_busy_machine_is_a_caveat(monkeypatch: pytest.MonkeyPatch) -> None:
    task = plan.task(soft(), 1, SETTINGS)
    subject = build(task)
    for cores, expected in ((0.1, []), (1.5, ["loaded"]), (None, [])):
        monkeypatch.setattr(timing._Others, "cores", lambda _self, value=cores: value)
        finding = timing.observe(subject, task)
        assert [flag.code for flag in finding.flags if flag.code == "loaded"] == expected
        assert finding.facts["others_cores"] == cores


def test_the_garbage_collector_is_on_again_afterwards() -> None:
    import gc

    task = plan.task(soft(), 1, SETTINGS)
    timing.observe(build(task), task)
    assert gc.isenabled()


def test_other_programs_are_what_this_process_did_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([(0.0, 10.0, 1.0), (2.0, 14.0, 2.0)])
    monkeypatch.setattr(timing._Others, "_read", staticmethod(lambda: next(readings)))
    assert timing._Others().cores() == 1.5


@pytest.mark.parametrize(
    ("layer_samples", "expected"),
    [((1.0,) * 8, []), ((1.0, 1.2) * 4, ["time_limit"]), ((1.0,) * 3, ["time_limit"])],
)
def test_a_rough_median_is_a_caveat(
    layer_samples: tuple[float, ...], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = plan.task(soft(), 1, SETTINGS)
    found = timing.Samples(layer_samples, layer_samples, 1, "time limit")
    monkeypatch.setattr(timing, "sample", lambda *_, **__: found)
    monkeypatch.setattr(timing._Others, "cores", lambda _self: None)
    assert [flag.code for flag in timing.observe(build(task), task).flags] == expected


@pytest.mark.gpu
def test_events_time_what_the_device_does() -> None:
    import torch

    from bench.worker.clock import CudaClock

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
