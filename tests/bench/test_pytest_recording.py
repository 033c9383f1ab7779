"""Sessions recorded as runs: what is measured when, what each test and pytest-benchmark say of it, and the gate."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self
from xml.etree import ElementTree as ET

import preloaded  # noqa: F401  (sessions within this process)
import pytest
from recorded import PROBE, failed, inspected, measured, run, soft, timed

from bench import executors, results
from bench.errors import WorkerError
from bench.executors import Probe
from bench.executors.replay import ReplayExecutor
from bench.records import Outcome, Planned, Status, Task
from bench.store import open_store

pytest_plugins = ["pytester"]

FOUR, EIGHT, SIXTEEN = (soft(num_experts=n) for n in (4, 8, 16))
SHAPE = '"soft", slots_per_expert=4, seq_len=32, d_model=16, d_ff=32, device="cpu"'
TESTS = f"""
import pytest

def test_before():
    pass

@pytest.mark.softmoe({SHAPE}, num_experts=[4, 8])
def test_soft(softmoe):
    softmoe.measure()

@pytest.mark.softmoe({SHAPE}, num_experts=16)
def test_large(softmoe):
    softmoe.measure()
"""

Replay = Callable[..., ReplayExecutor]


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Replay:
    """Lets sessions get recorded outcomes instead of measuring; returns what makes it so."""

    def give(outcomes: Sequence[Outcome], *, probe: Probe = PROBE, kind: type = ReplayExecutor) -> ReplayExecutor:
        executor: ReplayExecutor = kind(outcomes, probe=probe)
        monkeypatch.setitem(executors.TABLE, "isolated", lambda: executor)
        return executor

    return give


def all_of(*, four: float = 1e-3, eight: float = 2e-3, sixteen: float = 4e-3, count: int = 5) -> list[Outcome]:
    jitter = [1.0, 1.001, 0.999, 1.002, 0.998]
    return [
        outcome
        for case, seconds in ((FOUR, four), (EIGHT, eight), (SIXTEEN, sixteen))
        for outcome in measured(case, [seconds * factor for factor in jitter[:count]])
    ]


def record(pytester: pytest.Pytester, *options: str, text: str = TESTS) -> pytest.RunResult:
    pytester.makepyfile(test_it=text)
    return pytester.runpytest_inprocess("--softmoe-store=s.db", "-W", "error", "-rA", *options, no_reraise_ctrlc=True)


def stored(pytester: pytest.Pytester, word: str = "latest") -> results.RunResults:
    store = open_store(str(pytester.path / "s.db"))
    try:
        return results.load(store, store.find(word))
    finally:
        store.close()


def test_all_cases_are_measured_in_rounds_before_the_first_of_their_tests(
    pytester: pytest.Pytester, replay: Replay
) -> None:
    executor = replay(all_of())
    done = record(pytester)
    done.assert_outcomes(passed=4)
    seen = [(task.repeat, task.case["num_experts"]) for task in executor.seen]
    assert [repeat for repeat, _ in seen] == [repeat for repeat in range(6) for _ in range(3)]
    assert all({n for r, n in seen if r == repeat} == {4, 8, 16} for repeat in range(6))
    found = stored(pytester)
    assert (found.run.name, found.run.state, found.run.command.split()[0]) == ("pytest-1", "complete", "pytest")
    assert [r.case.id for r in found.cases] == [FOUR.id, EIGHT.id, SIXTEEN.id]
    done.stdout.fnmatch_lines(["softmoe: round 5 of 5*", "run pytest-1 (*) in s.db: 3 cases, 3 ok"])


def test_only_the_tests_that_will_run_are_measured(pytester: pytest.Pytester, replay: Replay) -> None:
    text = TESTS.replace("def test_large", '@pytest.mark.skipif("True", reason="not today")\ndef test_large')
    executor = replay(all_of())
    done = record(pytester, "--deselect=test_it.py::test_soft[soft/fused experts=8]", text=text)
    done.assert_outcomes(passed=2, skipped=1, deselected=1)
    assert {task.case["num_experts"] for task in executor.seen} == {4}


def test_a_session_that_only_collects_measures_nothing(pytester: pytest.Pytester, replay: Replay) -> None:
    executor = replay(all_of())
    done = record(pytester, "--collect-only")
    assert done.ret == 0
    assert "nothing is recorded" not in done.stdout.str()
    assert not executor.seen
    assert not (pytester.path / "s.db").exists()


def test_repeats_and_seconds_are_those_of_the_options(pytester: pytest.Pytester, replay: Replay) -> None:
    executor = replay(all_of())
    record(pytester, "--softmoe-repeats=2", "--softmoe-max-seconds=0.25").assert_outcomes(passed=4)
    assert {task.repeat for task in executor.seen} == {0, 1, 2}
    assert {task.settings.max_seconds for task in executor.seen} == {0.25}


def test_pytest_benchmark_gets_the_samples_of_all_processes(pytester: pytest.Pytester, replay: Replay) -> None:
    replay([inspected(FOUR), timed(FOUR, 1, 0.1, count=2), timed(FOUR, 2, 0.3, count=3)])
    text = TESTS.replace("num_experts=[4, 8]", "num_experts=4").split("@pytest.mark.softmoe", 2)
    marked = f'{text[0]}@pytest.mark.benchmark(group="mine")\n@pytest.mark.softmoe{text[1]}'
    record(pytester, "--benchmark-json=out.json", "--softmoe-repeats=2", text=marked).assert_outcomes(passed=2)
    (benchmark,) = json.loads((pytester.path / "out.json").read_text())["benchmarks"]
    assert benchmark["stats"]["data"] == [0.1, 0.1, 0.3, 0.3, 0.3]
    assert (benchmark["group"], benchmark["options"]["timer"]) == ("mine", "recorded")
    extra = benchmark["extra_info"]
    assert (extra["case"], extra["run"], extra["processes"]) == (FOUR.id, "pytest-1", [0.1, 0.3])
    assert extra["peak_memory"] == 2e6
    assert "few_repeats" in extra["caveats"]


def test_a_disabled_benchmark_is_recorded_all_the_same(pytester: pytest.Pytester, replay: Replay) -> None:
    executor = replay(all_of())
    record(pytester, "--benchmark-disable").assert_outcomes(passed=4)
    assert len(executor.seen) == 18


@pytest.mark.parametrize(
    ("status", "detail", "line"),
    [
        (Status.OUT_OF_MEMORY, "killed by the kernel\nlog", "out_of_memory: killed by the kernel"),
        (Status.CRASHED, "the worker ended with signal 11", "crashed: the worker ended with signal 11"),
        (Status.ERROR, "Traceback\n  line\nValueError: it broke", "error: ValueError: it broke"),
    ],
)
def test_a_case_that_fails_fails_its_test_in_one_line(
    pytester: pytest.Pytester, replay: Replay, status: Status, detail: str, line: str
) -> None:
    kept = [outcome for outcome in all_of() if outcome.case_id != EIGHT.id]
    replay([*kept, failed(EIGHT, status, detail)])
    done = record(pytester, "--benchmark-json=out.json")
    assert (done.ret, done.parseoutcomes()["failed"]) == (1, 1)
    done.stdout.fnmatch_lines([line, "FAILED test_it.py::test_soft[[]soft/fused experts=8[]] - *"])
    assert "Traceback" not in done.stdout.str()
    named = [b["name"] for b in json.loads((pytester.path / "out.json").read_text())["benchmarks"]]
    assert "test_soft[soft/fused experts=8]" not in named


def test_what_could_not_be_measured_is_skipped(pytester: pytest.Pytester, replay: Replay) -> None:
    kept = [outcome for outcome in all_of() if outcome.case_id != EIGHT.id]
    replay([*kept, failed(EIGHT, Status.UNSUPPORTED, "no bfloat16 here")])
    text = TESTS + TESTS.rsplit("\n\n", maxsplit=1)[-1].replace("test_large", "test_never").replace(
        "16)", "16, launch='graph')"
    )
    done = record(pytester, text=text)
    done.assert_outcomes(passed=3, skipped=2)
    done.stdout.fnmatch_lines_random(["SKIPPED*: no bfloat16 here", "SKIPPED*: launch=graph replays CUDA graphs*"])
    assert stored(pytester).count(Status.SKIPPED) == 1


def test_a_case_known_only_in_its_test_joins_the_run(pytester: pytest.Pytester, replay: Replay) -> None:
    other = FOUR.with_axes(num_experts=2)
    own = type(FOUR)({**{k: v for k, v in FOUR.items() if k != "backend"}, "layer": "mymoe:MyMoE"})
    executor = replay([*all_of(), *measured(other, [1e-3] * 5), *measured(own, [1e-3] * 5)])
    pytester.makepyfile(mymoe="def MyMoE(): ...")
    text = f"""
import pytest
from mymoe import MyMoE

@pytest.mark.softmoe({SHAPE}, num_experts=4)
def test_own(softmoe):
    softmoe.measure(factory=MyMoE)

def test_call(softmoe):
    assert softmoe({SHAPE}, num_experts=2).shape == (1, 32, 16)

@pytest.mark.softmoe({SHAPE}, num_experts=8)
def test_soft(softmoe):
    softmoe.measure()

@pytest.mark.softmoe({SHAPE}, num_experts=8)
def test_again(softmoe):
    softmoe.measure()
"""
    record(pytester, text=text).assert_outcomes(passed=4)
    found = stored(pytester)
    assert [r.case.id for r in found.cases] == [EIGHT.id, own.id, other.id]
    assert found.count(Status.OK) == 3
    assert found.run.state == "complete"
    assert len(executor.seen) == 18
    assert FOUR.id not in {task.case.id for task in executor.seen}


def test_a_case_is_added_to_a_plan_once(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "s.db"), create=True)
    store.start_run(run(), [Planned(FOUR)])
    for case in (EIGHT, FOUR, EIGHT):
        store.add_case(run(), case)
    assert [planned.case.id for planned in store.plan(run().id)] == [FOUR.id, EIGHT.id]
    store.close()


def test_a_layer_out_of_reach_fails_its_own_tests_only(pytester: pytest.Pytester, replay: Replay) -> None:
    class Picky(ReplayExecutor):
        def probe(self, targets: Sequence[str]) -> Probe:
            lost = [t for t in targets if t.startswith("nowhere")]
            return Probe(("cpu",), PROBE.comparable, tuple(f"layer {t}: there is no module nowhere" for t in lost))

    replay(all_of(), kind=Picky)
    text = TESTS + (
        f'\n@pytest.mark.softmoe({SHAPE}, num_experts=4, factory="nowhere:F")\n'
        "def test_lost(softmoe):\n    softmoe.measure()\n"
    )
    done = record(pytester, text=text)
    done.assert_outcomes(passed=4, failed=1)
    done.stdout.fnmatch_lines(["layer nowhere:F: there is no module nowhere"])
    assert len(stored(pytester).cases) == 3


def test_where_no_worker_starts_every_case_says_so(pytester: pytest.Pytester, replay: Replay) -> None:
    class Broken(ReplayExecutor):
        def __enter__(self) -> Self:
            raise WorkerError("no worker process can be started: no room")

    replay([], kind=Broken)
    done = record(pytester)
    done.assert_outcomes(passed=1, failed=3)
    assert done.stdout.str().count("\nno worker process can be started: no room\n") == 3
    assert not (pytester.path / "s.db").exists()


def test_an_interruption_keeps_what_was_measured(pytester: pytest.Pytester, replay: Replay) -> None:
    class Impatient(ReplayExecutor):
        def run(self, task: Task) -> Outcome:
            if task.repeat == 2:
                raise KeyboardInterrupt
            return super().run(task)

    replay(all_of(), kind=Impatient)
    done = record(pytester, "--softmoe-save=main")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.stdout.fnmatch_lines(["interrupted; everything measured is kept, go on with: softmoe-bench run --resume*"])
    assert stored(pytester).run.state == "interrupted"
    assert "baseline main" not in done.stdout.str()


def test_the_first_run_has_no_baseline_and_becomes_it(pytester: pytest.Pytester, replay: Replay) -> None:
    replay(all_of())
    options = ("--softmoe-compare=baseline:main", "--softmoe-save=main", "--softmoe-fail-on=slower")
    done = record(pytester, *options)
    assert done.ret == 0
    done.stdout.fnmatch_lines(["no baseline yet, so there is nothing to compare with", "baseline main: run pytest-1*"])
    again = record(pytester, *options)
    assert again.ret == 0
    again.stdout.fnmatch_lines(
        ["*3 of 3 cases compared*", "*Passes; it would fail on slower*", "baseline main: run *-2 *"]
    )


def test_slower_fails_the_session_and_stands_in_the_junit_file(pytester: pytest.Pytester, replay: Replay) -> None:
    replay(all_of())
    record(pytester, "--softmoe-save=main")
    replay(all_of(eight=3e-3))
    compare = ("--softmoe-compare=baseline:main", "--junitxml=out.xml", "--softmoe-save=main")
    done = record(pytester, *compare, "--softmoe-fail-on=slower")
    done.assert_outcomes(passed=4)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(["*soft/fused experts=8*slower*", "baseline main stays as it is: the comparison fails"])
    verdicts = {
        str(test.get("name")): {p.get("name"): p.get("value") for p in test.iter("property")}
        for test in ET.parse(pytester.path / "out.xml").iter("testcase")  # noqa: S314  (our own file)
    }
    slower = verdicts["test_soft[soft/fused experts=8]"]
    assert (slower["softmoe_verdict"], slower["softmoe_run"]) == ("slower", "pytest-2")
    assert float(str(slower["softmoe_ratio"])) == pytest.approx(1.5, rel=1e-6)
    assert verdicts["test_large[soft/fused]"]["softmoe_verdict"] == "same"
    assert verdicts["test_before"] == {}
    assert stored(pytester, "baseline:main").run.name == "pytest-1"
    assert record(pytester, *compare).ret == 0  # nothing was said to fail on


def test_a_missing_case_fails_where_that_is_asked_for(pytester: pytest.Pytester, replay: Replay) -> None:
    replay(all_of())
    record(pytester, "--softmoe-save=main")
    options = ("--softmoe-compare=baseline:main", "--softmoe-fail-on=missing")
    some = record(pytester, *options, "--deselect=test_it.py::test_large")
    assert some.ret == 1
    some.stdout.fnmatch_lines(["*Fails: missing (1 case)*"])
    none = record(pytester, *options, text="def test_before():\n    pass\n")
    assert none.ret == 1
    none.stdout.fnmatch_lines(["no softmoe test measured a case: nothing is recorded"])


def test_the_latest_run_is_the_one_before_this(pytester: pytest.Pytester, replay: Replay) -> None:
    replay(all_of())
    record(pytester)
    done = record(pytester, "--softmoe-compare=latest")
    done.stdout.fnmatch_lines(["pytest-2 against pytest-1*"])


def test_another_machine_is_not_compared_with(pytester: pytest.Pytester, replay: Replay) -> None:
    replay(all_of(), probe=Probe(("cpu",), {"torch": "1.0"}))
    record(pytester, "--softmoe-save=main")
    replay(all_of())
    done = record(pytester, "--softmoe-compare=baseline:main")
    assert done.ret == 0
    done.stdout.fnmatch_lines(["*cannot be compared: torch is 1.0 against 2.13.0*"])
    assert record(pytester, "--softmoe-compare=baseline:main", "--softmoe-fail-on=slower").ret == 1


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--softmoe-compare=latest"], "--softmoe-compare is about a recorded run: say where*--softmoe-store FILE"),
        (["--softmoe-max-seconds=1"], "--softmoe-max-seconds is about a recorded run*"),
        (["--softmoe-store=s.db", "--softmoe-fail-on=slower"], "--softmoe-fail-on judges a comparison*"),
        (
            ["--softmoe-store=s.db", "--softmoe-compare=latest", "--softmoe-fail-on=slowest"],
            "--softmoe-fail-on: unknown word 'slowest'; did you mean slower?*",
        ),
        (["--softmoe-store=s.db", "--softmoe-save=baseline:x"], "--softmoe-save 'baseline:x': give a plain word*"),
        (["--softmoe-store=s.db", "--softmoe-save="], "--softmoe-save '': give a plain word*"),
        (["--softmoe-store=nowhere/s.db"], "store nowhere/s.db: the folder *nowhere does not exist"),
        (["--softmoe-store=s.db", "--softmoe-compare=main"], "store s.db does not exist*"),
        (["--softmoe-store=s.db", "--softmoe-repeats=0"], "*'0': takes a whole number >= 1"),
        (["--softmoe-store=s.db", "--softmoe-max-seconds=nan"], "*'nan': takes a number of seconds > 0"),
    ],
)
def test_options_that_make_no_sense_are_one_line(
    pytester: pytest.Pytester, replay: Replay, options: list[str], line: str
) -> None:
    executor = replay(all_of())
    pytester.makepyfile(test_it=TESTS)
    done = pytester.runpytest_inprocess(*options)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    said = [text.removeprefix("ERROR: ") for text in (*done.errlines, *done.outlines)]
    assert any(pytest.LineMatcher([text]).str() and _matches(text, line) for text in said), said
    assert not executor.seen
    assert not (pytester.path / "s.db").exists()


def _matches(text: str, pattern: str) -> bool:
    from fnmatch import fnmatch

    return fnmatch(text, pattern.replace("[", "[[]"))


def test_a_baseline_that_others_than_this_are_is_a_typing_error(pytester: pytest.Pytester, replay: Replay) -> None:
    replay(all_of())
    record(pytester, "--softmoe-save=main")
    first = record(pytester, "--softmoe-compare=baseline:other", "--softmoe-save=other")
    first.stdout.fnmatch_lines(["no baseline yet*", "baseline other: run pytest-2*"])
    done = record(pytester, "--softmoe-compare=baseline:mian")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "store s.db: unknown baseline 'mian'; did you mean main?" in done.stderr.str()


@pytest.mark.parametrize(("workers", "refused"), [("2", True), ("0", False)])
def test_several_workers_are_refused(pytester: pytest.Pytester, replay: Replay, workers: str, *, refused: bool) -> None:
    """pytest-xdist is not installed here: a plugin with its options stands for it."""
    pytester.makeconftest(
        "def pytest_addoption(parser):\n"
        '    parser.addoption("--numprocesses", type=int, dest="numprocesses")\n'
        '    parser.addoption("--dist", default="no")\n'
    )
    replay(all_of())
    dist = "--benchmark-quiet" if workers == "0" else "--dist=load"
    done = record(pytester, f"--numprocesses={workers}", dist)
    assert (done.ret == pytest.ExitCode.USAGE_ERROR) is refused
    assert ("pytest-xdist would measure several at once: leave out -n" in done.stderr.str()) is refused


def test_a_layer_in_the_package_of_its_tests_is_really_measured(tmp_path: Path) -> None:
    (tmp_path / "mymoe.py").write_text(
        "import torch\n\n"
        "class MyMoE(torch.nn.Module):\n"
        "    def __init__(self, d_model, d_ff, num_experts, slots_per_expert):\n"
        "        super().__init__()\n"
        "        self.up, self.down = torch.nn.Linear(d_model, d_ff), torch.nn.Linear(d_ff, d_model)\n\n"
        "    def forward(self, x):\n"
        "        return self.down(self.up(x).relu())\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "from mymoe import MyMoE\n\n"
        '@pytest.mark.softmoe("soft", factory=MyMoE, num_experts=2, slots_per_expert=2, seq_len=8, d_model=8, d_ff=8,\n'
        '                     device="cpu")\n'
        "def test_mine(softmoe):\n"
        "    softmoe.measure()\n"
    )
    options = ["--softmoe-store=s.db", "--softmoe-repeats=2", "--softmoe-max-seconds=0.05", "-W", "error"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    store = open_store(str(tmp_path / "s.db"))
    (found,) = results.load(store, store.find("latest")).cases
    store.close()
    assert (found.case["layer"], found.status) == ("mymoe:MyMoE", Status.OK)
    assert len(found.figures["latency"].by_repeat) == 2
    assert (found.value("parameters") or 0) == 2 * 8 * 8 + 8 + 8
