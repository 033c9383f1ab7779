"""How a device's ceilings are found: rules with a device and a clock that are not here, then this very device."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from bench.worker import ceilings
from bench.worker.ceilings import CALLS, MIN_SAMPLES, Best, Work, cache_bytes, climb, formats, products, streams

CPU = torch.device("cpu")


@dataclass
class Device:
    """Does every way at a rate of its own; its clock moves by what is done, and by nothing else."""

    rates: dict[str, list[float]]
    least_block: float = 0.004
    seconds: float = 0.0
    done: list[tuple[str, int]] = field(default_factory=list)
    refused: frozenset[str] = frozenset()

    def now(self) -> float:
        return self.seconds

    def works(self, amounts: dict[str, float]) -> list[Work]:
        return [Work(name, amount, lambda name=name: self._prepare(name)) for name, amount in amounts.items()]  # type: ignore[misc]

    def _prepare(self, name: str) -> Callable[[int], object]:
        if name in self.refused:
            raise torch.OutOfMemoryError("no memory")
        return lambda _turn: name

    def block(self, call: Callable[[int], object], first: int, iterations: int) -> float:
        name = str(call(first))
        times = sum(one == name for one, _ in self.done)
        self.done.append((name, iterations))
        rate = self.rates[name][min(times, len(self.rates[name]) - 1)]
        duration = self.amounts[name] / rate
        self.seconds += duration * iterations
        return duration

    def flush(self) -> None:
        raise AssertionError("a ceiling has warm caches")

    amounts: dict[str, float] = field(default_factory=dict)


def climbed(device: Device, amounts: dict[str, float], seconds: float) -> Best | None:
    device.amounts = amounts
    return climb(device.works(amounts), device, seconds, device.now)


def test_the_way_with_the_best_median_makes_the_ceiling() -> None:
    device = Device({"small": [100.0], "middle": [400.0], "large": [300.0]})
    best = climbed(device, {"small": 1.0, "middle": 10.0, "large": 20.0}, seconds=2.0)
    assert best is not None
    assert best.name == "middle"
    assert set(best.rates) == {400.0}


def test_a_single_lucky_block_does_not_make_a_ceiling() -> None:
    """Two blocks come before the first sample; a lucky one takes nobody else out of the race either."""
    lucky = [100.0, 100.0, 900.0, *[200.0] * 20]
    device = Device({"lucky": lucky, "steady": [300.0]})
    best = climbed(device, {"lucky": 10.0, "steady": 10.0}, seconds=0.8)
    assert best is not None
    assert best.name == "steady"


def test_a_block_is_long_enough_for_its_clock() -> None:
    device = Device({"only": [1000.0]})
    climbed(device, {"only": 1.0}, seconds=0.01)  # 1 ms a call, blocks of 4 ms
    assert device.done[:3] == [("only", 1), ("only", 1), ("only", 4)]
    assert {iterations for _, iterations in device.done[2:]} == {4}


def test_a_slow_format_is_measured_on_what_it_can_do_in_time() -> None:
    """A product of 8 times the work would take 9 calls of 8 s."""
    device = Device({"small": [1.0], "large": [1.0]})
    best = climbed(device, {"small": 1.0, "large": 8.0}, seconds=3.0)
    assert best == Best("small", (1.0,) * MIN_SAMPLES)
    assert device.seconds == CALLS * 1.0
    assert {name for name, _ in device.done} == {"small"}


def test_one_block_that_was_disturbed_does_not_hide_the_larger_shapes() -> None:
    disturbed = [1.0, 1.0, 1.0, 1.0, 100.0, 1.0]
    device = Device({"small": disturbed, "large": [100.0]})
    best = climbed(device, {"small": 1.0, "large": 10.0}, seconds=30.0)
    assert best is not None
    assert best.name == "large"


def test_the_time_that_is_left_goes_to_the_ways_that_may_win_in_turns() -> None:
    device = Device({"slow": [10.0], "first": [100.0], "second": [90.0]}, least_block=0.0)
    amounts = {"slow": 1.0, "first": 10.0, "second": 10.0}
    best = climbed(device, amounts, seconds=10.0)
    assert best is not None
    later = [name for name, _ in device.done[3 * CALLS :]]
    assert set(later) == {"first", "second"}
    assert later[:4] == ["first", "second", "first", "second"]
    assert len(best.rates) > MIN_SAMPLES
    assert device.seconds == pytest.approx(10.0, abs=0.3)


def test_a_shape_without_memory_for_it_is_passed_over() -> None:
    device = Device({"small": [1.0], "large": [2.0]}, refused=frozenset({"large"}))
    best = climbed(device, {"small": 1.0, "large": 1.5}, seconds=100.0)
    assert best is not None
    assert best.name == "small"


def test_a_format_that_cannot_be_measured_at_all_has_no_ceiling() -> None:
    device = Device({"only": [1.0]}, refused=frozenset({"only"}))
    assert climbed(device, {"only": 1.0}, seconds=1.0) is None
    assert climbed(Device({}), {}, seconds=1.0) is None


# what is done


def test_products_come_in_the_order_of_their_work_and_count_two_per_multiply_add() -> None:
    for kind in ("cpu", "cuda"):
        work = [m * n * k for m, n, k in ceilings.SHAPES[kind]]
        assert work == sorted(work)
    first = next(products(CPU, "float32"))
    assert (first.name, first.amount) == ("256 x 256 x 256", 2 * 256**3)
    y = first.prepare()(0)
    assert isinstance(y, torch.Tensor)
    assert (y.shape, y.dtype) == ((256, 256), torch.float32)


@pytest.mark.parametrize(("name", "dtype"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_products_are_in_their_number_format(name: str, dtype: torch.dtype) -> None:
    y = next(products(CPU, name)).prepare()(0)
    assert isinstance(y, torch.Tensor)
    assert y.dtype == dtype


def test_a_product_is_of_numbers_that_are_not_all_alike() -> None:
    """Products of zeros take less power, and so run at higher clocks."""
    y = next(products(CPU, "float32")).prepare()(0)
    assert isinstance(y, torch.Tensor)
    assert y.std() > 1


def test_memory_is_moved_by_arrays_of_four_caches_and_counted_as_read_and_written() -> None:
    cache = 20 * 2**20
    works = list(streams(CPU, cache, free=2**40))
    assert [(work.name, work.amount / 2**20) for work in works] == [
        ("sum of 80 MiB arrays", 80),
        ("copy of 80 MiB arrays", 160),
        ("triad of 80 MiB arrays", 240),
    ]
    total, copied, triad = (work.prepare()(0) for work in works)
    assert isinstance(total, torch.Tensor)
    assert total.item() == 20 * 2**20
    assert isinstance(copied, torch.Tensor)
    assert isinstance(triad, torch.Tensor)
    assert triad.numel() * 4 == 80 * 2**20
    assert triad[0].item() == 4.0


def test_memory_that_is_short_is_left_alone() -> None:
    assert list(streams(CPU, 2**30, free=20 * 2**30)) == []


def test_arrays_are_large_even_where_caches_are_small() -> None:
    assert next(streams(CPU, 1, free=2**40)).amount == ceilings.LEAST_ARRAY


def caches(root: Path, cpus: dict[str, list[tuple[str, str]]]) -> Path:
    for cpu, levels in cpus.items():
        for index, (size, shared) in enumerate(levels):
            folder = root / cpu / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            (folder / "size").write_text(size)
            (folder / "shared_cpu_list").write_text(f"{shared}\n")
    return root


def test_every_instance_of_the_last_cache_counts_once(tmp_path: Path) -> None:
    root = caches(
        tmp_path,
        {f"cpu{i}": [("32K", str(i)), ("1M", str(i)), ("32M", "0-1" if i < 2 else "2-3")] for i in range(4)},
    )
    assert cache_bytes(CPU, root) == 64 * 2**20


def test_a_shared_cache_counts_once(tmp_path: Path) -> None:
    root = caches(tmp_path, {f"cpu{i}": [("32K", str(i)), ("300M", "0-1")] for i in range(2)})
    assert cache_bytes(CPU, root) == 300 * 2**20


def test_where_the_system_does_not_tell_a_size_is_assumed(tmp_path: Path) -> None:
    assert cache_bytes(CPU, tmp_path) == 64 * 2**20


def test_a_cpu_is_measured_in_every_format_of_a_case() -> None:
    assert formats(CPU) == ("float32", "bfloat16", "float16")


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((7, 5), ("float32", "float16")),
        ((8, 0), ("float32", "tf32", "bfloat16", "float16")),
        ((9, 0), ("float32", "tf32", "bfloat16", "float16")),
    ],
)
def test_a_gpu_is_measured_in_the_formats_that_it_has(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: tuple[str, ...]
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert formats(torch.device("cuda")) == expected


@pytest.mark.parametrize(
    ("name", "during"), [("tf32", "high"), ("float32", "highest"), ("bfloat16", "highest"), ("float16", "highest")]
)
def test_float32_is_multiplied_exactly_and_tf32_is_not(name: str, during: str) -> None:
    before = torch.get_float32_matmul_precision()
    with ceilings._multiplying(torch.device("cuda"), name):
        assert torch.get_float32_matmul_precision() == during
    assert torch.get_float32_matmul_precision() == before


def test_a_cpu_multiplies_as_its_layers_do() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with ceilings._multiplying(CPU, "float32"):
            assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_this_machine_has_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "cache_bytes", lambda _device: 2**20)
    found = ceilings.measure("cpu", 0.01)["ceilings"]
    assert [(one["what"], one["unit"]) for one in found] == [
        ("float32", "FLOP/s"),
        ("bfloat16", "FLOP/s"),
        ("float16", "FLOP/s"),
        ("bandwidth", "B/s"),
        ("cache", "B"),
    ]
    assert all(one["device"] == "cpu" and min(one["samples"]) > 0 for one in found)
    assert all(len(one["samples"]) >= MIN_SAMPLES for one in found[:-1])


@pytest.mark.gpu
def test_this_gpu_has_ceilings() -> None:
    found = {one["what"]: one for one in ceilings.measure("cuda", 1.0)["ceilings"]}
    assert set(found) == {*formats(torch.device("cuda")), "bandwidth", "cache"}
    assert found["cache"]["samples"] == [float(torch.cuda.get_device_properties(0).L2_cache_size)]
    assert all(min(one["samples"]) > 0 for one in found.values())


@pytest.mark.gpu
def test_this_gpu_stays_below_its_data_sheet() -> None:
    from statistics import median

    from bench import peaks
    from bench.caveats import TOLERATED
    from bench.gpus import gpus

    peak = peaks.of_machine(gpus()[0].comparable_facts())
    if peak is None:
        pytest.skip("no data sheet of this GPU is known")
    found = {one["what"]: median(one["samples"]) for one in ceilings.measure("cuda", 1.0)["ceilings"]}
    for name, promised in {**peak.flops_per_s, "bandwidth": peak.bandwidth}.items():
        assert 0.3 * promised < found[name] < TOLERATED * promised, name
