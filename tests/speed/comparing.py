"""How long `softmoe-bench compare` takes over two runs of ten thousand cases: `python tests/speed/comparing.py`.

The runs are made up (`--cases`, five timed processes of thirty samples each, and an inspection with all that it finds)
and as large as measured ones: facts, flags, and samples in full digits. Nothing is asserted about time; a machine that
is busy takes longer.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import plan
from bench.records import Environment, Flag, Observation, Outcome, Planned, Run, Status
from bench.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.records import Case

PROCESSES, SAMPLES = 5, 30

SLOWER = 0.01
"""Share of the cases that are half as slow again in the second run."""

ROUTED = {
    "flops_by_operator": {"torch": {"aten.addmm": 205520896}, "fvcore": {"addmm": 205520896}},
    "flops_negligible": {"torch": {"aten.view": 2, "aten.unbind": 3, "aten.gelu": 1}, "fvcore": {"aten::gelu": 1}},
    "load": [196.0] * 32,
    "checked_tokens": 196,
}
"""Facts of an inspection; there are more, and they are as long."""

AROUND = {
    "resident_at_start": 163098624, "iterations": 3, "stopped_by": "half width", "serial_correlation": 0.1,
    "warm_up_blocks": 12, "warm_up_seconds": 0.19, "warm_up_steady": True, "timer_overhead": 1.1e-07,
    "starved_samples": 0, "others_cores": 0.02, "stolen_share": 0.0, "minor_faults": 408, "major_faults": 0,
    "involuntary_switches": 218, "swapped_pages": 0, "quota_stops": 0, "quota_stopped_s": 0.0, "cpu_throttles": None,
    "conditions": {
        "cpu_hz": [2596122000.0, 2596122000.0], "temperature_c": [None, None], "load_average": [4.2, 4.2],
        "governor": [None, None], "turbo": [None, None], "batteries": [[], []],
    },
    "page_faults_per_sample": 13.6, "marks": {"preempted": [3, 17]}, "threads": 2, "dtype": "float32",
}  # fmt: skip
"""Facts of a process that times."""


def cases(count: int) -> list[Case]:
    """Returns so many cases of four layers, which differ in experts, batch, tokens and widths."""
    layers = (("soft", {"slots_per_expert": 4}), ("token_choice", {"top_k": 2}), ("gshard", {}), ("vmoe", {}))
    found: list[Case] = []
    for step in range(math.ceil(count / len(layers))):
        experts, rest = 2 ** (1 + step % 8), step // 8
        batch, rest = 2 ** (rest % 8), rest // 8
        axes = {"num_experts": experts, "batch_size": batch, "seq_len": 512 + 64 * rest, "d_model": 64, "d_ff": 256}
        found += [plan.single(layer, {**axes, **own}) for layer, own in layers]
    return found[:count]


def outcomes(of: Sequence[Case], seed: int, factor: float) -> Iterator[Outcome]:
    """Yields what became of every process: noise of 5 % between and within, some cases slower by a factor."""
    draw = random.Random(seed)  # noqa: S311  (noise, not a secret)
    for number, case in enumerate(of):
        level = 1e-3 * (1 + number % 50) * (factor if number % round(1 / SLOWER) == 0 else 1.0)
        yield Outcome(case.id, 0, Status.OK, "", (), tuple(_counted(number)), ROUTED, 100.0, 101.0)
        for repeat in range(1, PROCESSES + 1):
            pace = math.exp(draw.gauss(0, 0.05))
            layer = tuple(level * pace * math.exp(draw.gauss(0, 0.05)) for _ in range(SAMPLES))
            reference = tuple(1e-3 * pace * math.exp(draw.gauss(0, 0.05)) for _ in range(SAMPLES))
            busy = (Flag("loaded", "1.0 cores in use by others"),) if draw.random() < 0.02 else ()
            observed = Observation("latency", "s", layer), Observation("reference_latency", "s", reference)
            facts = {**AROUND, "half_width": draw.uniform(0.005, 0.03)}
            yield Outcome(case.id, repeat, Status.OK, "", busy, observed, facts, 100.0 + repeat, 101.5 + repeat)


def _counted(number: int) -> Iterator[Observation]:
    """Yields what an inspection finds."""
    for metric, unit in {
        "parameters": "count", "parameter_memory": "B", "optimizer_memory": "B", "saved_memory": "B",
        "peak_memory": "B", "activation_memory": "B", "reserved_memory": "B", "flops_torch": "FLOP",
        "flops_fvcore": "FLOP", "max_abs_error": "abs", "drop_rate": "ratio", "unrouted_rate": "ratio",
        "load_imbalance": "factor", "routing_agreement": "ratio",
    }.items():  # fmt: skip
        yield Observation(metric, unit, (float(1_000_000 + 1000 * number),))


def write(where: Path, count: int) -> None:
    """Writes two runs, `base` and `candidate`, into a new store, which is there whole or not at all."""
    part = where.with_suffix(".part")
    part.unlink(missing_ok=True)
    store, of = open_store(str(part), create=True), cases(count)
    here = Environment({"cpu": "Test CPU", "cores_usable": 2, "torch": "2.13.0"})
    for number, (name, factor) in enumerate((("base", 1.0), ("candidate", 1.5))):
        run = Run(
            f"{number:012d}", name, "many", "", "", {"repeats": PROCESSES}, here, 100.0 + number, None, "complete"
        )
        store.keep_run(run, [Planned(case) for case in of], list(outcomes(of, number, factor)))
    store.close()
    part.replace(where)


def main() -> None:
    """Writes the store unless it is there, then compares as often as asked and prints the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--store", type=Path, help="kept, and used again if it is there")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = told.store or Path(folder) / "many.db"
        if not store.exists():
            began = time.perf_counter()
            write(store, told.cases)
            print(f"wrote {store.stat().st_size / 2**20:.0f} MiB in {time.perf_counter() - began:.0f} s")
        for form in ("table", "json", "markdown"):
            command = [sys.executable, "-m", "bench", "compare", "base", "candidate", "--store", str(store)]
            seconds, end = [], ""
            for _ in range(told.times):
                began = time.perf_counter()
                done = subprocess.run([*command, "--format", form], capture_output=True, text=True, check=False)
                seconds.append(time.perf_counter() - began)
                end = done.stderr.strip() or str(done.returncode)
            shown = " ".join(f"{value:.2f}" for value in seconds)
            print(f"{form}: {shown} s (load {os.getloadavg()[0]:.1f}); {end}")


if __name__ == "__main__":
    main()
