"""How often `duel` cries wolf here, and what it sees: the study behind what the README claims.

    python tests/speed/alarms.py aa --trials 40            # unchanged code, the second core loaded in half of them
    python tests/speed/alarms.py power --trials 40 --slower 0.10 --threshold 0.05

Each trial is a `softmoe-bench duel` of four small cases with themselves, or with a layer whose extra work was
calibrated in place to the share asked for. Printed are verdicts, their rates with exact 95 % intervals, and seconds per
case. What rules for stored results make of the same cases: `saved.py` beside this.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.stats import share_interval

if TYPE_CHECKING:
    from collections.abc import Iterator

GRIDS = {
    "aa": """
[grid]
name = "unchanged"
[defaults]
device = "cpu"
threads = THREADS
seq_len = 196
d_model = 128
d_ff = 512
[[sweep]]
layer = "dense"
[[sweep]]
layer = ["token_choice", "expert_choice"]
num_experts = 8
[[sweep]]
layer = "soft"
num_experts = 8
slots_per_expert = 24
""",
    "power": """
[grid]
name = "slowed"
[defaults]
device = "cpu"
threads = THREADS
seq_len = 196
d_model = 128
d_ff = 512
[[sweep]]
layer = "soft"
num_experts = [4, 8, 16, 32]
slots_per_expert = "seq_len // num_experts"
""",
}
SLOWED = '''
"""Our Soft MoE with extra work of its own kind: calls on the first tokens, as many as make up the share asked for."""

import math
import statistics
import time

import torch

import softmoe_ref


class Slowed(torch.nn.Module):
    def __init__(self, **axes):
        super().__init__()
        self.layer = softmoe_ref.build("soft", **axes)
        self.extra = None

    def calibrate(self, x):
        """Returns how many more tokens make a call take the share longer, from both timed in turn."""
        width = x.shape[-1]
        self.a, self.b = torch.randn(256, width), torch.randn(width, width)
        most = 256
        while True:
            shares = []
            for _ in range(60):
                began = time.perf_counter()
                self.layer(x)
                middle = time.perf_counter()
                self.work(most)
                shares.append((time.perf_counter() - middle) / (middle - began))
            share = statistics.median(shares)
            if share >= SHARE:
                return round(most * SHARE / share)
            most = 256 * math.ceil(1.2 * most * SHARE / share / 256)

    def work(self, rows):
        for start in range(0, rows, 256):
            self.a[: min(256, rows - start)] @ self.b

    def forward(self, x):
        if SHARE and self.extra is None:
            self.extra = self.calibrate(x)
        y = self.layer(x)
        if self.extra:
            self.work(self.extra)
        return y
'''


def main() -> None:
    """Runs the trials and prints what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("aa", "power"))
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--slower", type=float, default=0.10)
    parser.add_argument("--threshold", type=float, default=0.05)
    parser.add_argument("--load", choices=("half", "none", "all"), default="half")
    parser.add_argument("--threads", type=int, default=1, help="of each side; with 2 the load is on both of two cores")
    asked = parser.parse_args()
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for trial in range(asked.trials):
            loaded = asked.load == "all" or (asked.load == "half" and trial % 2 == 1)
            began = time.monotonic()
            with load() if loaded else contextlib.nullcontext():
                cases = fight(Path(folder), asked)
            seconds.append((time.monotonic() - began) / len(cases))
            for case in cases:
                counts["loaded" if loaded else "calm"][case["verdict"]] += 1
            said = ", ".join(f"{case['verdict']} {case['ratio']['estimate']:.3f}" for case in cases)
            print(f"{trial + 1}{' loaded' if loaded else ''}: {seconds[-1]:.0f} s a case; {said}", flush=True)
    tell(counts)
    print(f"seconds a case: median {sorted(seconds)[len(seconds) // 2]:.0f}, most {max(seconds):.0f}")


def fight(folder: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns the cases of one duel."""
    (folder / "grid.toml").write_text(GRIDS[asked.what].replace("THREADS", str(asked.threads)))
    words = [sys.executable, "-m", "bench", "duel", "--grid", str(folder / "grid.toml"), "--json"]
    words += ["--store", str(folder / "alarms.db"), "--threshold", str(asked.threshold), "--fail-on", "none"]
    if asked.what == "aa":
        words += ["--base", "installed", "--cand", "installed"]
    else:
        for side, share in (("base", 0.0), ("cand", asked.slower)):
            (folder / side).mkdir(exist_ok=True)
            (folder / side / "slowed.py").write_text(SLOWED + f"\n\nSHARE = {share}\n")
        words += ["--layer", "slowed:Slowed", "--set", "layer=slowed:Slowed"]
        words += ["--base", str(folder / "base"), "--cand", str(folder / "cand")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    cases: list[dict[str, Any]] = json.loads(done.stdout)["cases"]
    return cases


def tell(counts: dict[str, collections.Counter[str]]) -> None:
    """Prints how often each verdict was given, by name and altogether, with exact 95 % intervals."""
    for name, found in (*counts.items(), ("all", sum(counts.values(), collections.Counter()))):
        total = sum(found.values())
        for verdict, count in found.most_common():
            rate = share_interval(count, total)
            print(f"{name}: {verdict} {count} of {total} ({rate.estimate:.1%}; {rate.low:.1%} to {rate.high:.1%})")


@contextlib.contextmanager
def load() -> Iterator[None]:
    """Keeps the last core busy for the length of the block, whichever this process is bound to."""
    program = "import os; os.sched_setaffinity(0, {os.cpu_count() - 1})\nwhile True: pass"
    busy = subprocess.Popen([sys.executable, "-c", program])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


if __name__ == "__main__":
    main()
