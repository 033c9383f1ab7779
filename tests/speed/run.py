"""Prints ratios: ours against other packages and against the matrix products alone, all within one process.

    python tests/speed/run.py [--threads N] [--rounds N] [soft long sparse growth bf16 subset memory]

Every ratio is the median over rounds of two times taken in the same round, one after the other; behind it stand the
smallest and the largest of any round, and the most that it should be, marked where it is missed. Freed memory is kept,
as in the harness (`bench.worker.memory.keep_freed`), unless `--default-malloc` is given.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import warnings

import peaks
import tables
import torch
from rounds import interleave

from bench.worker.memory import keep_freed


def main() -> None:
    """Measure and print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", choices=[*tables.TABLES, "memory", []], default=[])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--default-malloc", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    warnings.simplefilter("ignore")  # of other packages
    logging.disable(logging.WARNING)
    kept = not asked.default_malloc and keep_freed()
    print(f"torch {torch.__version__}, {asked.threads} threads, freed memory {'kept' if kept else 'given back'}")
    for name in asked.tables or [*tables.TABLES, "memory"]:
        print(f"\n{name}: {(tables.TABLES.get(name, peaks.table).__doc__ or '').splitlines()[0]}")
        if name == "memory":
            for title, mib, most in peaks.table():
                print(f"  {title:58s} {mib:7.1f} MiB{_verdict(mib, most)}", flush=True)
            continue
        for line in tables.TABLES[name]():
            measured = interleave(line.calls, rounds=asked.rounds)
            first = next(iter(line.calls))
            base = statistics.median(measured.seconds[first]) * 1e3
            print(f"  {line.title}  ({first} {base:.1f} ms; others used {measured.others:.2f} cores)")
            for (ours, other), most in line.ratios.items():
                low, high = measured.spread(ours, other)
                ratio = measured.ratio(ours, other)
                text = f"    {ours} / {other}"
                print(f"{text:46s} {ratio:6.3f}  ({low:.2f} to {high:.2f}){_verdict(ratio, most)}", flush=True)


def _verdict(found: float, most: float | None) -> str:
    """Return what stands behind a figure that should not exceed `most`."""
    return "" if most is None else f"  at most {most:.2f}: {'met' if found <= most else 'MISSED'}"


if __name__ == "__main__":
    main()
