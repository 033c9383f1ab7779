"""`softmoe-bench duel` as a user meets it: in a git repository with a layer of its own, and with mistakes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

LAYER = """
import torch

class Mine(torch.nn.Module):
    def __init__(self, d_model, d_ff, num_experts, slots_per_expert):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((d_model, d_model), 0.01))

    def forward(self, x):
        for _ in range({times}):
            y = x @ self.weight
        return y
"""
GRID = """
[grid]
name = "mine"
[defaults]
seq_len = 64
d_model = 64
d_ff = 64
threads = 1
[[sweep]]
layer = "soft"
num_experts = 4
slots_per_expert = {slots}
"""

Cli = Callable[..., subprocess.CompletedProcess[str]]


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def worktrees(folder: Path) -> list[str]:
    done = subprocess.run(["git", "worktree", "list"], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(LAYER.format(times=8))
    (tmp_path / "mine.toml").write_text(GRID.format(slots="[4, 8]"))
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


@pytest.fixture
def cli(repository: Path) -> Cli:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench", *words],
            cwd=repository,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return call


ASKED = ("duel", "--grid", "mine.toml", "--layer", "mine:Mine", "--set", "layer=mine:Mine", "--pairs", "3", "--json")


def test_a_layer_that_a_revision_made_slower_is_caught(cli: Cli, repository: Path) -> None:
    """Ten times the work in the working tree: FLOPs say it exactly, whatever the machine's noise does to the time."""
    (repository / "mine.py").write_text(LAYER.format(times=80))
    done = cli(*ASKED, "--base", "main", "--also", "markdown=comment.md", "--report", "duel.html")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert len(found["cases"]) == 2
    for case in found["cases"]:
        assert case["ratio"]["estimate"] > 3
        assert {c["metric"]: c["candidate"] / c["base"] for c in case["changes"]}["flops_torch"] == 10
    assert "worse" in (repository / "comment.md").read_text() or "slower" in (repository / "comment.md").read_text()
    assert "against main" in (repository / "duel.html").read_text()
    assert len(worktrees(repository)) == 1
    shown = cli("show", "--json")
    assert [case["verdict"] for case in json.loads(shown.stdout)["cases"]] == [c["verdict"] for c in found["cases"]]
    again = cli("compare", "latest", "latest", "--pair", "slots_per_expert=4,8")
    assert again.returncode == 2
    assert "is a duel" in again.stderr
    resumed = cli("run", "--resume", "latest")
    assert resumed.returncode == 2
    assert "is a duel, which is measured in one go" in resumed.stderr


def test_cases_that_were_deleted_or_cannot_be_built_any_more_end_with_3(cli: Cli, repository: Path) -> None:
    (repository / "mine.toml").write_text(GRID.format(slots="[4, 16]"))
    done = cli(*ASKED, "--base", "main")
    verdicts = sorted(case["verdict"] for case in json.loads(done.stdout)["cases"])
    assert {"missing", "new"} <= set(verdicts)
    assert done.returncode == 3, done.stderr
    (repository / "mine.py").write_text("raise RuntimeError('gone')\n")
    done = cli(*ASKED, "--base", "main", "--fail-on", "failed")
    failed = [case for case in json.loads(done.stdout)["cases"] if case["verdict"] == "failed"]
    assert failed[0]["reason"] == "error: RuntimeError: gone"
    assert done.returncode == 3, done.stderr


def test_a_side_whose_layer_lies_elsewhere_is_refused(cli: Cli, repository: Path) -> None:
    """The grid's own layer is installed, so that both revisions would measure the same."""
    done = cli("duel", "--grid", "mine.toml", "--base", "main")
    assert done.returncode == 2
    assert "does not hold softmoe_ref" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert len(worktrees(repository)) == 1
    assert not (repository / "softmoe-bench.db").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--grid", "quick"), "say what to compare with: --base SIDE, or --pair AXIS=BASE,CANDIDATE"),
        (("--grid", "quick", "--base", "mian"), "--base mian: there is no such revision or folder"),
        (("--grid", "quikc", "--base", "main"), "did you mean quick?"),
        (("--grid", "quick", "--base", "main", "--threshold", "lateny=1"), "unknown metric 'lateny'"),
        (("--grid", "quick", "--base", "main", "--fail-on", "slwer"), "did you mean slower?"),
        (("--grid", "quick", "--base", "main", "--pairs", "2"), "--pairs"),
        (("--grid", "quick", "--base", "main", "--report", "duel.pdf"), "the ending says no format"),
        (("--grid", "quick", "--pair", "backend=einsum,einsum"), "both sides are einsum"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(cli: Cli, repository: Path, words: tuple[str, ...], said: str) -> None:
    done = cli("duel", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (repository / "softmoe-bench.db").exists()
