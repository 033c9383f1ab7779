"""How long `softmoe-bench report` takes over a run of a thousand cases, and how large the page is.

Run `python tests/speed/reports.py`. The runs are those of `comparing.py`: made up, and as large as measured ones.
Seconds are those of the processor in user mode, so that what else a machine does moves them less; with `--against`, a
folder that holds another version of the package takes turns with this one, and the ratio of their medians is printed.
Nothing is asserted about time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import comparing

HERE = Path(__file__).parents[2]

PROGRAM = """
import hashlib, resource, sys
from pathlib import Path

def spent():
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime

from bench import report, results
from bench.store import open_store

store = open_store(sys.argv[1])
imported = spent()
runs = [results.load(store, store.find(name)) for name in sys.argv[3:]]
loaded = spent()
report.write(runs, Path(sys.argv[2]))
page = Path(sys.argv[2]).read_bytes()
print(imported, loaded - imported, spent() - loaded, len(page), hashlib.sha256(page).hexdigest()[:8])
"""
"""Makes one report in a process of its own; prints the seconds of its parts, and size and hash of the page."""

PARTS = ("imports", "loading", "drawing and writing")


def made(package: Path, store: Path, runs: list[str]) -> tuple[list[float], int, str]:
    """Returns the seconds of the parts, bytes and hash of the page, made by the package of a folder."""
    page = store.with_suffix(".html")
    command = [sys.executable, "-c", PROGRAM, str(store), str(page), *runs]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, check=True)
    *seconds, size, digest = done.stdout.split()
    return list(map(float, seconds)), int(size), digest


def main() -> None:
    """Makes reports of one run and of a comparison as often as asked, and prints seconds, megabytes and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--against", type=Path, help="folder of another version, which takes turns with this one")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for count in told.cases:
            store = Path(folder) / f"{count}.db"
            comparing.write(store, count)
            for runs in (["base"], ["base", "candidate"]):
                totals: dict[Path, list[float]] = {}
                for _ in range(told.times):
                    for package in filter(None, (told.against, HERE)):
                        seconds, size, digest = made(package.resolve(), store, runs)
                        totals.setdefault(package, []).append(sum(seconds))
                        parts = ", ".join(f"{name} {value:.2f}" for name, value in zip(PARTS, seconds, strict=True))
                        what = f"{count} cases, {' and '.join(runs)}, {package.resolve().name}"
                        print(f"{what}: {sum(seconds):.2f} s ({parts}), {size / 1e6:.2f} MB, page {digest}")
                if told.against:
                    ratio = median(totals[HERE]) / median(totals[told.against])
                    print(f"{count} cases, {' and '.join(runs)}: {ratio:.2f} times the other version's seconds")


if __name__ == "__main__":
    main()
