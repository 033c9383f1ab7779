"""Our sampling beside torch.utils.benchmark and pytest-benchmark on the same calls, in turn within one process.

    ROUNDS=20 python -m pytest -qs tests/speed/harnesses.py --benchmark-max-time=0.5 --benchmark-disable-gc

Each harness gets the same time for every figure. Printed are the ratio of ours to theirs (median over rounds of figures
taken in the same round) and each harness' own spread from round to round (standard deviation of the logarithm of its
medians): a harness that is steadier says more in the same time.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import statistics
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.utils.benchmark import Timer

from bench import plan
from bench.records import Settings
from bench.worker import timing
from bench.worker.clock import clock_for
from bench.worker.memory import keep_freed
from bench.worker.sampling import Stopwatches, sample
from bench.worker.subject import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "soft, 16 experts": ("soft", {"num_experts": 16, "slots_per_expert": 4, "d_model": 128, "d_ff": 512}),
    "soft, backward": (
        "soft",
        {"num_experts": 8, "slots_per_expert": 24, "d_model": 256, "d_ff": 1024, "mode": "forward_backward"},
    ),
    "token choice, 8 experts": ("token_choice", {"num_experts": 8, "d_model": 256, "d_ff": 1024, "batch_size": 4}),
    "dense": ("dense", {"d_model": 384, "d_ff": 1536}),
}
ROUNDS = int(os.environ.get("ROUNDS", "20"))

SECONDS = 0.5
"""As pytest-benchmark is told on the command line."""

found: dict[str, dict[str, list[float]]] = {}


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Prints the ratios and spreads of every case when all were measured."""
    yield
    for name, by_harness in found.items():
        spreads = {h: statistics.stdev(math.log(x) for x in seconds) for h, seconds in by_harness.items()}
        print(f"\n{name}: " + ", ".join(f"{h} spread {spread:.1%}" for h, spread in spreads.items()))
        for other in ("torch", "pytest-benchmark"):
            ratios = [a / b for a, b in zip(by_harness["ours"], by_harness[other], strict=True)]
            first, _, third = statistics.quantiles(ratios, n=4)
            print(f"  ours / {other}: {statistics.median(ratios):.3f}  ({first:.3f} to {third:.3f})")


@pytest.fixture(scope="module", params=CASES)
def call(request: pytest.FixtureRequest) -> tuple[str, Callable[[int], object]]:
    """Returns a case's name and one call of it."""
    keep_freed()
    layer, axes = CASES[request.param]
    subject = build(plan.task(plan.single(layer, {"seq_len": 196, **axes}), 1, Settings()))
    return request.param, subject.call


def in_turn(function: Callable[[int], object]) -> Callable[[], object]:
    """Returns a call without arguments that goes through the batches as our sampling does."""
    turns = itertools.count()
    return lambda: function(next(turns))


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_side_by_side(call: tuple[str, Callable[[int], object]], benchmark: Any, turn: int) -> None:  # noqa: ANN401
    """Takes one figure with each harness, in an order that differs from round to round."""
    name, function = call
    harnesses = {
        "ours": lambda: ours(function),
        "torch": lambda: theirs(function),
        "pytest-benchmark": lambda: pytest_benchmark(function, benchmark),
    }
    order = list(harnesses)
    random.Random(turn).shuffle(order)  # noqa: S311  (an order, not a secret)
    for harness in order:
        found.setdefault(name, {}).setdefault(harness, []).append(harnesses[harness]())


def ours(function: Callable[[int], object]) -> float:
    """Returns the median of our samples; the time limit holds the reference kernel too."""
    cpu = torch.device("cpu")
    watches = Stopwatches(clock_for(cpu), clock_for(cpu))
    settings = Settings(max_seconds=SECONDS, half_width=1e-9)
    return statistics.median(sample(function, timing.reference_kernel(cpu), watches, settings).layer)


def theirs(function: Callable[[int], object]) -> float:
    """Returns the median of torch's `blocked_autorange`."""
    timer = Timer("function()", globals={"function": in_turn(function)}, num_threads=torch.get_num_threads())
    return float(timer.blocked_autorange(min_run_time=SECONDS).median)


def pytest_benchmark(function: Callable[[int], object], benchmark: Any) -> float:  # noqa: ANN401
    """Returns pytest-benchmark's median."""
    benchmark(in_turn(function))
    return float(benchmark.stats.stats.median)
