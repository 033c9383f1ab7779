"""The loop over cases, with recorded outcomes in the place of workers."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from recorded import PROBE, SETTINGS, failed, measured

from bench import grid, plan
from bench.errors import NotComparableError, StoreError
from bench.executors.replay import ReplayExecutor
from bench.plan import Plan
from bench.records import Case, Outcome, Run, Status, Task
from bench.run import Summary, check_same_machine, execute, new_run
from bench.store import Store, open_store

GRID = {
    "grid": {"name": "tiny", "description": "Is it fast?"},
    "sweep": [{"layer": "soft", "num_experts": [2, 4, 8], "slots_per_expert": 2}],
}


class Log:
    """Remembers what a run tells its progress."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, total: int) -> None:
        self.lines.append(f"begin {total}")

    def pass_over(self, case: Case) -> None:
        self.lines.append(f"pass over {case['num_experts']}")

    def start(self, case: Case, repeat: int) -> None:
        self.lines.append(f"start {case['num_experts']}/{repeat}")

    def end(self, case: Case, outcome: Outcome) -> None:
        self.lines.append(f"end {case['num_experts']} {outcome.status}")


class Stopping(ReplayExecutor):
    """Is interrupted at its n-th task, as by Ctrl-C."""

    def __init__(self, outcomes: Sequence[Outcome], at: int) -> None:
        super().__init__(outcomes)
        self.at = at

    def run(self, task: Task) -> Outcome:
        if len(self.seen) == self.at:
            raise KeyboardInterrupt
        return super().run(task)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "s.db"), create=True)


@pytest.fixture
def the_plan() -> Plan:
    return plan.make(grid.parse(GRID, source="tiny.toml"))


def begin(store: Store, the_plan: Plan) -> Run:
    return new_run(store, the_plan, PROBE, SETTINGS, command="softmoe-bench run --grid tiny.toml")


def go(
    store: Store,
    the_plan: Plan,
    run: Run,
    executor: ReplayExecutor,
    log: Log | None = None,
    *,
    retry_failed: bool = False,
) -> Summary:
    """A run of a minute, by its clock."""
    moments = iter([100.0, 160.0])
    return execute(
        the_plan,
        executor,
        store,
        run,
        SETTINGS,
        log or Log(),
        retry_failed=retry_failed,
        clock=lambda: next(moments),
    )


def fine(cases: Sequence[Case]) -> list[Outcome]:
    return [outcome for case in cases for outcome in measured(case, [1.0, 2.0, 3.0])]


def test_every_case_is_inspected_first_and_then_timed_in_shuffled_rounds(store: Store, the_plan: Plan) -> None:
    executor = ReplayExecutor(fine(the_plan.runnable))
    summary = go(store, the_plan, begin(store, the_plan), executor)
    assert summary == Summary(interrupted=False, failed=(), measured=12, seconds=60.0, in_workers=3 * (1.0 + 3 * 0.5))
    tasks = [(task.repeat, task.case.id) for task in executor.seen]
    ids = [case.id for case in the_plan.runnable]
    assert tasks[:3] == [(0, id_) for id_ in ids]
    assert [repeat for repeat, _ in tasks] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    rounds = [tuple(id_ for repeat, id_ in tasks if repeat == wanted) for wanted in (1, 2, 3)]
    assert all(sorted(order) == sorted(ids) for order in rounds)
    assert len({*rounds, tuple(ids)}) > 1


def test_the_run_keeps_what_was_asked_and_where(store: Store, the_plan: Plan) -> None:
    run = begin(store, the_plan)
    go(store, the_plan, run, ReplayExecutor(fine(the_plan.runnable)))
    kept = store.find("tiny-1")
    assert kept.id == run.id
    assert kept.state == "complete"
    assert kept.finished is not None
    assert kept.command == "softmoe-bench run --grid tiny.toml"
    assert kept.description == "Is it fast?"
    assert kept.settings["repeats"] == 3
    assert kept.environment.comparable["torch"] == "2.13.0"
    assert kept.environment.comparable["cores_usable"]
    assert kept.environment.informational["packages"]["softmoe-bench"]


def test_a_run_keeps_the_versions_of_other_packages_that_it_measures(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.layers.layer.package_versions", lambda names: dict.fromkeys(names, "1.2"))
    monkeypatch.setattr("bench.run.environment.package_versions", lambda names: dict.fromkeys(names, "1.2"))
    sweeps = [*GRID["sweep"], {"layer": "mixture_of_experts", "num_experts": 4}]
    run = begin(store, plan.make(grid.parse({**GRID, "sweep": sweeps}, source="tiny.toml")))
    packages = run.environment.informational["packages"]
    assert packages["mixture-of-experts"] == "1.2"
    assert "transformers" not in packages


def test_a_case_that_fails_is_recorded_once_and_not_tried_again(store: Store, the_plan: Plan) -> None:
    first, second, third = the_plan.runnable
    outcomes = [failed(first, Status.TIMEOUT, "too slow"), *fine([second, third])]
    log = Log()
    summary = go(store, the_plan, begin(store, the_plan), ReplayExecutor(outcomes), log)
    assert summary.failed == (first.id,)
    assert summary.measured == 1 + 2 * 4
    assert log.lines.count("pass over 2") == 3
    assert "start 2/1" not in log.lines
    assert [o.status for o in store.outcomes("latest" and store.find("latest").id) if o.case_id == first.id] == [
        Status.TIMEOUT
    ]


def test_skipped_and_unsupported_cases_are_no_failures(store: Store, the_plan: Plan) -> None:
    first, *others = the_plan.runnable
    outcomes = [failed(first, Status.UNSUPPORTED, "no such arithmetic here"), *fine(others)]
    assert go(store, the_plan, begin(store, the_plan), ReplayExecutor(outcomes)).failed == ()


def test_an_interruption_keeps_everything_and_resume_measures_only_the_rest(store: Store, the_plan: Plan) -> None:
    outcomes = fine(the_plan.runnable)
    run = begin(store, the_plan)
    summary = go(store, the_plan, run, Stopping(outcomes, at=7))
    assert (summary.interrupted, summary.failed, summary.measured) == (True, (), 7)
    assert store.find(run.id).state == "interrupted"
    kept = {(o.case_id, o.repeat) for o in store.outcomes(run.id)}
    assert len(kept) == 7
    rest = ReplayExecutor(outcomes)
    log = Log()
    assert go(store, the_plan, run, rest, log).measured == 5
    assert not {(task.case.id, task.repeat) for task in rest.seen} & kept
    assert sum(line.startswith("pass over") for line in log.lines) == 7
    assert store.find(run.id).state == "complete"
    whole = ReplayExecutor(outcomes)
    assert go(store, the_plan, run, whole).measured == 0
    assert whole.seen == []


def test_a_failure_before_an_interruption_stays_one_after_it(store: Store, the_plan: Plan) -> None:
    first, *others = the_plan.runnable
    outcomes = [failed(first), *fine(others)]
    run = begin(store, the_plan)
    go(store, the_plan, run, Stopping(outcomes, at=2))
    again = ReplayExecutor(outcomes)
    assert go(store, the_plan, run, again).failed == (first.id,)
    assert first.id not in {task.case.id for task in again.seen}


def test_each_outcome_is_stored_before_the_next_case_starts(store: Store, the_plan: Plan) -> None:
    run = begin(store, the_plan)
    counts: list[int] = []

    class Watching(ReplayExecutor):
        def run(self, task: Task) -> Outcome:
            counts.append(len(store.outcomes(run.id)))
            return super().run(task)

    go(store, the_plan, run, Watching(fine(the_plan.runnable)))
    assert counts == list(range(12))


def test_progress_is_told_of_everything(store: Store, the_plan: Plan) -> None:
    log = Log()
    go(store, the_plan, begin(store, the_plan), ReplayExecutor(fine(the_plan.runnable)), log)
    assert log.lines[:3] == ["begin 12", "start 2/0", "end 2 ok"]
    assert len(log.lines) == 1 + 2 * 12


def test_a_run_goes_on_only_where_it_began(store: Store, the_plan: Plan) -> None:
    run = begin(store, the_plan)
    check_same_machine(run, PROBE)
    other = type(PROBE)(devices=("cpu",), comparable={"torch": "2.14.0"})
    with pytest.raises(
        NotComparableError, match=r"run tiny-1 cannot go on here: torch was 2.13.0 and is 2.14.0; start a new"
    ):
        check_same_machine(run, other)


def test_replay_without_a_record_is_an_error_not_a_figure(the_plan: Plan) -> None:
    outcome = ReplayExecutor([]).run(plan.task(the_plan.runnable[0], 1, SETTINGS))
    assert outcome.status is Status.ERROR
    assert outcome.detail == "nothing is recorded for this case and repeat"


def statuses(store: Store, run: Run) -> dict[tuple[str, int], Status]:
    return {(o.case_id, o.repeat): o.status for o in store.outcomes(run.id)}


def test_what_is_larger_than_a_case_without_memory_is_not_started(store: Store, the_plan: Plan) -> None:
    small, middle, large = the_plan.runnable
    run = begin(store, the_plan)
    executor = ReplayExecutor([*fine([small, large]), failed(middle, Status.OUT_OF_MEMORY, "no memory")])
    summary = go(store, the_plan, run, executor)
    assert summary.failed == (middle.id,)
    assert large.id not in {task.case.id for task in executor.seen}
    (skip,) = [o for o in store.outcomes(run.id) if o.case_id == large.id]
    assert skip.status is Status.SKIPPED
    assert f"(case {middle.id}) ran out of memory" in skip.detail
    assert len([o for o in store.outcomes(run.id) if o.case_id == small.id]) == 4


def test_the_rule_outlives_an_interruption(store: Store, the_plan: Plan) -> None:
    _, middle, large = the_plan.runnable
    run = begin(store, the_plan)
    outcomes = [failed(middle, Status.OUT_OF_MEMORY, "no memory")]
    go(store, the_plan, run, Stopping([*fine(the_plan.runnable[:1]), *outcomes], at=2))
    again = ReplayExecutor(fine(the_plan.runnable))
    assert go(store, the_plan, run, again).failed == (middle.id,)
    assert {task.case.id for task in again.seen} == {the_plan.runnable[0].id}
    assert statuses(store, run)[large.id, 0] is Status.SKIPPED


def test_failed_cases_and_those_skipped_with_them_are_measured_again_in_full(store: Store, the_plan: Plan) -> None:
    small, middle, _ = the_plan.runnable
    run = begin(store, the_plan)
    go(store, the_plan, run, ReplayExecutor([*fine([small]), failed(middle, Status.OUT_OF_MEMORY, "no memory")]))
    again = ReplayExecutor(fine(the_plan.runnable))
    summary = go(store, the_plan, run, again, retry_failed=True)
    assert (summary.failed, summary.measured) == ((), 2 * 4)
    assert small.id not in {task.case.id for task in again.seen}
    assert set(statuses(store, run).values()) == {Status.OK}
    assert len(statuses(store, run)) == 12


def test_an_interrupted_retry_keeps_the_old_outcome_until_there_is_a_new_one(store: Store, the_plan: Plan) -> None:
    first, second, _ = the_plan.runnable
    run = begin(store, the_plan)
    go(store, the_plan, run, ReplayExecutor([failed(case) for case in the_plan.runnable]))
    go(store, the_plan, run, Stopping(fine(the_plan.runnable), at=1), retry_failed=True)
    assert statuses(store, run)[first.id, 0] is Status.OK
    assert statuses(store, run)[second.id, 0] is Status.ERROR


def test_a_store_that_fails_leaves_the_run_interrupted(
    store: Store, the_plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("disk is full")

    run = begin(store, the_plan)
    monkeypatch.setattr(store, "add_outcome", full)
    with pytest.raises(StoreError, match="disk is full"):
        go(store, the_plan, run, ReplayExecutor(fine(the_plan.runnable)))
    assert store.find(run.id).state == "interrupted"


def test_a_name_that_another_program_takes_in_between_is_given_up(
    store: Store, the_plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(store, the_plan)
    names = iter(["tiny-1", "tiny-2", "tiny-2"])
    monkeypatch.setattr(store, "free_name", lambda _stem: next(names))
    assert begin(store, the_plan).name == "tiny-2"
