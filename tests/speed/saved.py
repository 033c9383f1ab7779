"""How often rules for stored results cry wolf here: `compare`, pytest-benchmark's and asv's, on unchanged cases.

    pip install asv && python tests/speed/saved.py --trials 40

Run after run of the cases of `alarms.py` is stored by each program as its users do it, in turn, first on a calm
machine, then with a core loaded; every run is compared with the one before it. Nothing changes between them, so that
whatever is called slower is a false alarm.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import alarms

CASES = {
    "dense": {},
    "token_choice": {"num_experts": 8},
    "expert_choice": {"num_experts": 8},
    "soft": {"num_experts": 8, "slots_per_expert": 24},
}
TESTS = f"""
import pytest

WIDTHS = {{"d_model": 128, "d_ff": 512, "seq_len": 196, "device": "cpu", "threads": THREADS}}
CASES = {CASES}


@pytest.mark.parametrize("layer", list(CASES))
def test_layer(softmoe, layer):
    softmoe(layer, **CASES[layer], **WIDTHS)
"""
TIMED = f"""
import torch
import softmoe_ref

CASES = {CASES}


class Layers:
    params = list(CASES)

    def setup(self, layer):
        torch.set_num_threads(THREADS)
        self.layer = softmoe_ref.build(layer, d_model=128, d_ff=512, **CASES[layer]).eval()
        self.x = torch.randn(1, 196, 128)

    def time_forward(self, layer):
        with torch.inference_mode():
            self.layer(self.x)
"""
CONFIG = {
    "version": 1,
    "project": "layers",
    "repo": ".",
    "branches": ["HEAD"],
    "environment_type": "existing",
    "benchmark_dir": "benchmarks",
}
HERE = f"existing:{sys.executable}"


def main() -> None:
    """Runs the trials and prints what each rule made of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    counts: dict[str, dict[str, collections.Counter[str]]] = {name: {} for name in RULES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, asked.threads)
        for state in ("calm", "loaded"):
            with alarms.load() if state == "loaded" else contextlib.nullcontext():
                for turn in range(asked.trials // 2 + 1):
                    said = []
                    for rule, judge in RULES.items():
                        found = judge(folder, f"{state}{turn}", f"{state}{turn - 1}" if turn else None)
                        counts[rule].setdefault(state, collections.Counter()).update(found)
                        said.append(f"{rule}: {dict(found)}")
                    if turn:
                        print(f"{state} {turn}: {'; '.join(said)}", flush=True)
    for rule, by_state in counts.items():
        print(rule)
        alarms.tell(by_state)


def prepare(folder: Path, threads: int) -> None:
    """Lays out what each program measures."""
    (folder / "grid.toml").write_text(alarms.GRIDS["aa"].replace("THREADS", str(threads)))
    (folder / "test_layers.py").write_text(TESTS.replace("THREADS", str(threads)))
    (folder / "asv.conf.json").write_text(json.dumps(CONFIG))
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "__init__.py").touch()
    (folder / "benchmarks" / "layers.py").write_text(TIMED.replace("THREADS", str(threads)))
    call(folder, "git", "init", "-q")
    call(folder, sys.executable, "-m", "asv", "machine", "--yes")


def compared(folder: Path, name: str, before: str | None) -> collections.Counter[str]:
    """Returns the verdicts of our `compare`."""
    ours = (sys.executable, "-m", "bench")
    call(folder, *ours, "run", "--grid", "grid.toml", "--store", "saved.db", "--name", name)
    if before is None:
        return collections.Counter()
    words = ("compare", before, name, "--store", "saved.db", "--fail-on", "none", "--json")
    return collections.Counter(row["verdict"] for row in json.loads(call(folder, *ours, *words))["cases"])


def regressed(folder: Path, name: str, before: str | None) -> collections.Counter[str]:
    """Returns how many cases pytest-benchmark fails at five percent of the median, of those that it compares."""
    words = [sys.executable, "-m", "pytest", "-q", "test_layers.py", f"--benchmark-save={name}"]
    if before is not None:
        words += ["--benchmark-compare", "--benchmark-compare-fail=median:5%"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if f"{len(CASES)} passed" not in said and "PerformanceRegression" not in said:  # which it raises before it counts
        raise SystemExit(said)
    if before is None:
        return collections.Counter()
    slower = said.count("has failed PercentageRegressionCheck")
    return collections.Counter({"slower": slower, "not slower": len(CASES) - slower})


def differ(folder: Path, name: str, before: str | None) -> collections.Counter[str]:
    """Returns how many cases asv marks as slower, faster or neither (Mann-Whitney and a factor of 1.1)."""
    call(folder, "git", "commit", "-q", "--allow-empty", "-m", name)
    call(folder, "git", "tag", name)
    commit = call(folder, "git", "rev-parse", name).strip()
    asv = (sys.executable, "-m", "asv")
    call(folder, *asv, "run", "-E", HERE, "--set-commit-hash", commit)
    if before is None:
        return collections.Counter()
    table = call(folder, *asv, "compare", before, name)
    marks = [line.split("|")[1].strip() for line in table.splitlines() if "time_forward" in line]
    words = {"+": "slower", "-": "faster", "": "neither"}
    return collections.Counter(words[mark] for mark in marks)


RULES = {"softmoe-bench compare": compared, "pytest-benchmark median:5%": regressed, "asv compare": differ}


def call(folder: Path, *words: str) -> str:
    """Returns what a program says; if it fails, so does the study."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **AUTHOR})
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


AUTHOR = {f"GIT_{who}_{what}": "nobody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

if __name__ == "__main__":
    main()
