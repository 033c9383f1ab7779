"""Rules of sampling, on a clock that only moves when told to."""

from collections.abc import Callable, Iterator
from itertools import chain, repeat

import pytest

from bench.records import Settings
from bench.worker.sampling import Samples, Stopwatches, again, sample, steady, unusual, warm_up


class FakeClock:
    """A call takes what `durations` says next; time passes only in blocks and flushes."""

    least_block = 4e-3
    overhead = 0.0
    starved = False

    def __init__(self, durations: Iterator[float], reference: float = 1e-3, wall: float | None = None) -> None:
        self.time = 0.0
        self._durations, self._reference = durations, reference
        self._wall, self.has_wall = wall or 0.0, wall is not None
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

    def wall(self, call: Callable[[int], object], first: int, iterations: int) -> float:
        self.log.append(f"wall of {call(first)}x{iterations} from {first}")
        return self._wall

    def flush(self) -> None:
        self.log.append("flush")


def layer(_turn: int) -> str:
    return "layer"


def reference(_turn: int) -> str:
    return "reference"


def measure(
    clock: FakeClock, settings: Settings, *, cold: bool = False, switches: Callable[[], int] = lambda: 0
) -> Samples:
    watches = Stopwatches(clock, clock, now=lambda: clock.time)
    return sample(layer, reference, watches, settings, cold=cold, switches=switches)


def test_a_steady_layer_is_sampled_as_often_as_asked_and_no_more() -> None:
    clock = FakeClock(repeat(1e-3))
    found = measure(clock, Settings(min_samples=10, max_seconds=9.0))
    assert (len(found.layer), len(found.reference), found.reason) == (10, 10, "precise")
    assert found.layer == (1e-3,) * 10
    assert found.reference == (1e-3,) * 10


def test_a_block_is_at_least_as_long_as_the_clock_needs() -> None:
    assert measure(FakeClock(repeat(1e-3)), Settings()).warm_up.iterations == 4
    assert measure(FakeClock(repeat(1e-5)), Settings()).warm_up.iterations == 400
    assert measure(FakeClock(repeat(5e-3)), Settings()).warm_up.iterations == 1


def test_the_reference_follows_every_sample() -> None:
    clock = FakeClock(repeat(5e-3))
    measure(clock, Settings(min_samples=10, max_seconds=9.0))
    assert clock.log[-6:] == ["layerx1", "referencex4"] * 3


def test_a_noisy_layer_is_sampled_until_the_time_is_up() -> None:
    durations = chain.from_iterable(repeat((1e-2, 3e-2)))
    clock = FakeClock(durations)
    found = measure(clock, Settings(min_samples=10, max_seconds=2.0))
    assert found.reason == "time limit"
    assert sum(found.layer) <= 2.0 + 4e-2
    assert len(found.layer) > 50


def test_one_sample_is_taken_however_slow_the_layer_is() -> None:
    found = measure(FakeClock(repeat(60.0)), Settings(max_seconds=1.0))
    assert found.layer == (60.0,)
    assert found.reason == "time limit"


def test_warm_up_goes_on_until_the_level_no_longer_falls() -> None:
    falling = [9e-3, 8e-3, 7e-3, 6e-3, 5e-3]
    clock = FakeClock(chain(falling, repeat(5e-3)))
    found = measure(clock, Settings(min_samples=10, max_seconds=9.0))
    assert found.layer == (5e-3,) * 10
    assert found.warm_up.steady
    assert found.warm_up.blocks == 9


def test_warm_up_is_capped_by_time_and_says_that_it_was() -> None:
    ever_slower = iter(0.1 * 1.2**i for i in range(99))
    clock = FakeClock(ever_slower)
    found = warm_up(layer, clock, lambda: None, 1.0, cold=False, now=lambda: clock.time)
    assert not found.steady
    assert 1.0 <= found.seconds < 1.0 + 0.3
    assert found.blocks == 7


def test_noise_around_one_level_is_no_reason_to_go_on() -> None:
    found = measure(FakeClock(chain.from_iterable(repeat((8e-3, 1e-2, 1.2e-2)))), Settings(max_seconds=9.0))
    assert found.warm_up.steady
    assert found.warm_up.blocks == 6


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([1.0] * 5, False),
        ([1.0] * 6, True),
        ([1.0, 1.0, 1.0, 0.985, 0.985, 0.985], True),
        ([1.0, 1.0, 1.0, 0.97, 0.97, 0.97], False),
        ([3.0, 2.0, 1.0, 1.0, 1.0, 1.0], False),
        ([1.2, 1.0, 0.8, 1.0, 1.15, 0.9], True),
        ([9.0] * 6 + [1.0] * 6, True),
    ],
)
def test_a_level_is_steady_when_it_moves_no_more_than_its_noise(blocks: list[float], *, expected: bool) -> None:
    assert steady(blocks) is expected


def test_samples_that_hang_together_must_be_more() -> None:
    """The same two values in turn, or five of one after five of the other: the latter are no ten independent ones."""
    settings = Settings(min_samples=10, max_seconds=9.0)
    apart = measure(FakeClock(chain.from_iterable(repeat((1.00e-2, 1.015e-2)))), settings)
    together = measure(FakeClock(chain.from_iterable(repeat((1.00e-2,) * 5 + (1.015e-2,) * 5))), settings)
    assert (apart.reason, len(apart.layer)) == ("precise", 10)
    assert together.reason == "time limit"


def test_spans_tell_when_each_sample_was_taken() -> None:
    clock = FakeClock(repeat(5e-3))
    found = measure(clock, Settings(min_samples=10, max_seconds=9.0))
    lengths = [end - start for start, end in found.spans]
    assert lengths == pytest.approx([5e-3] * 10)
    assert all(a[1] <= b[0] for a, b in zip(found.spans, found.spans[1:], strict=False))


def test_a_sample_is_marked_when_the_processor_was_taken_away() -> None:
    counts = iter([0, 0, 0, 3, 3, 3, *[3] * 99])
    found = measure(FakeClock(repeat(5e-3)), Settings(min_samples=10, max_seconds=9.0), switches=lambda: next(counts))
    assert found.preempted == (1,)
    assert len(found.layer) == 10


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([0, 0, 3, 0], (2,)), ([4, 5, 6, 5, 11], (4,)), ([4, 5, 6, 5, 10], ()), ([1], ()), ([7, 7, 7], ())],
)
def test_a_layer_whose_own_threads_take_turns_is_not_disturbed_by_them(
    counts: list[int], expected: tuple[int, ...]
) -> None:
    assert unusual(counts) == expected


def test_the_host_s_time_is_taken_beside_the_device_s() -> None:
    clock = FakeClock(repeat(5e-3), wall=8e-3)
    found = measure(clock, Settings(min_samples=10, max_seconds=9.0))
    assert found.wall == (8e-3,) * 10
    assert found.layer == (5e-3,) * 10
    assert clock.log[-3:] == ["layerx1", f"wall of layerx1 from {clock.turns[-1]}", "referencex4"]


def test_cold_caches_are_flushed_before_the_host_s_time_too() -> None:
    clock = FakeClock(repeat(5e-3), wall=8e-3)
    measure(clock, Settings(min_samples=10, max_seconds=9.0), cold=True)
    assert [entry.split(" ")[0] for entry in clock.log[-5:]] == ["flush", "layerx1", "flush", "wall", "referencex4"]


def test_a_slow_first_call_of_the_reference_does_not_decide_its_blocks() -> None:
    class Loading(FakeClock):
        def block(self, call: Callable[[int], object], first: int, iterations: int) -> float:
            seconds = super().block(call, first, iterations)
            return 0.5 if self.log.count("referencex1") == 1 and self.log[-1] == "referencex1" else seconds

    clock = Loading(repeat(5e-3))
    measure(clock, Settings(min_samples=10, max_seconds=9.0))
    assert clock.log[-1] == "referencex4"


@pytest.mark.parametrize(("seconds", "cold", "expected"), [(0.1, False, 10), (0.3, False, 0), (0.1, True, 0)])
def test_a_call_before_each_sample_fetches_what_the_reference_drove_out(
    seconds: float, cold: bool, expected: int
) -> None:
    clock = FakeClock(repeat(seconds))
    calls: list[int] = []

    def counted(turn: int) -> str:
        calls.append(turn)
        return "layer"

    watches = Stopwatches(clock, clock, now=lambda: clock.time)
    found = sample(counted, reference, watches, Settings(min_samples=10, max_seconds=99.0), cold=cold)
    blocks = found.warm_up.blocks + len(found.layer)
    assert len(calls) - blocks == expected


def test_starved_samples_are_counted() -> None:
    clock = FakeClock(repeat(5e-3))
    clock.starved = True
    assert measure(clock, Settings(min_samples=10, max_seconds=9.0)).starved == 10


def test_cold_caches_mean_a_flush_before_every_single_call_warm_up_included() -> None:
    clock = FakeClock(repeat(1e-5))
    found = measure(clock, Settings(min_samples=10, max_seconds=9.0), cold=True)
    assert found.warm_up.iterations == 1
    calls = [entry for entry in clock.log if not entry.startswith("reference")]
    assert calls[::2] == ["flush"] * (len(calls) // 2)
    assert calls[1::2] == ["layerx1"] * (len(calls) // 2)


def test_turns_go_on_so_that_inputs_rotate() -> None:
    clock = FakeClock(repeat(1e-3))
    measure(clock, Settings(min_samples=10, max_seconds=9.0))
    assert clock.turns[0] == 0
    assert clock.turns[1] == 1
    assert clock.turns[2:7] == [5, 9, 13, 17, 21]  # warm-up: blocks of four calls
    assert clock.turns[7:] == list(range(29, 29 + 8 * 10, 8))  # samples: and four before each that are not timed


@pytest.mark.parametrize(("level", "calls"), [(0.0, 4), (1e-4, 4), (2.5e-3, 4), (5e-3, 2), (0.05, 1), (0.3, 0)])
def test_as_many_calls_come_before_a_sample_as_there_are_batches_and_time(level: float, calls: int) -> None:
    assert again(level) == calls
