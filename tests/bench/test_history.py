"""Histories made by hand: which figure is followed, what disturbs it, and what a change says."""

from dataclasses import replace

import pytest
from recorded import run, soft

from bench import history
from bench.history import Reading
from bench.records import Environment, Run


def at(number: int, commit: str = "", *, dirty: bool = False, **facts: object) -> Run:
    """A run with a number, at a commit."""
    made = run(f"quick-{number}", id=f"{number:012x}")
    git = {"git": {"commit": commit, "branch": "main", "dirty": dirty}} if commit else {}
    return replace(made, environment=Environment(made.environment.comparable, {"kernel": "6.1", **git, **facts}))


def reading(place: int, seconds: float, *, reference: float | None = 1.0, disturbed: set[int] | None = None) -> Reading:
    figures = {"latency": dict.fromkeys((1, 2, 3), seconds)}
    if reference is not None:
        figures["relative_latency"] = dict.fromkeys((1, 2, 3), seconds / reference)
    return Reading(place, figures, frozenset(disturbed or ()))


def analysed(values: list[float], runs: list[Run] | None = None) -> history.History:
    series = history.series(soft(), "here", [reading(i, value) for i, value in enumerate(values)])
    return history.analyse(runs or [at(i) for i in range(len(values))], [series])


def test_latency_is_followed_over_the_reference_where_every_run_has_one() -> None:
    both = history.series(soft(), "here", [reading(0, 2.0, reference=2.0), reading(1, 4.0, reference=4.0)])
    assert (both.metric, both.unit, both.values) == ("relative_latency", "factor", pytest.approx([1.0, 1.0]))
    one = history.series(soft(), "here", [reading(0, 2.0), reading(1, 4.0, reference=None)])
    assert (one.metric, one.unit, one.values) == ("latency", "s", pytest.approx([2.0, 4.0]))


def test_a_run_that_failed_is_missing_and_is_no_point() -> None:
    found = history.series(soft(), "here", [reading(0, 2.0), Reading(1, {}), reading(2, 4.0)])
    assert [point.run for point in found.points] == [0, 2]
    assert found.missing == (1,)
    assert found.metric == "relative_latency"


def test_disturbed_processes_are_left_out_where_three_others_remain() -> None:
    figures = {"relative_latency": {1: 1.0, 2: 1.0, 3: 1.0, 4: 9.0}, "latency": {1: 1.0, 2: 1.0, 3: 1.0, 4: 9.0}}
    calm = history.series(soft(), "here", [Reading(0, figures, frozenset({4}))]).points[0].figure
    assert (calm.estimate, calm.replicates) == (pytest.approx(1.0), 3)
    all_of_them = history.series(soft(), "here", [Reading(0, figures, frozenset({3, 4}))]).points[0].figure
    assert all_of_them.replicates == 4


def test_a_change_names_both_runs_and_their_commits_and_its_size() -> None:
    runs = [at(i, f"{i:x}" * 40, dirty=i == 5) for i in range(10)]
    found = analysed([1.0] * 5 + [1.12] * 5, runs)
    (change,) = found.trends[0].changes
    assert (change.before, change.after) == (4, 5)
    assert history.say(change, runs) == (
        "between run quick-4 (commit 4444444) and run quick-5 (commit 5555555 with changes): +12 % (12 % to 12 %)"
    )
    assert [level[:2] for level in found.trends[0].levels()] == [(0, 4), (5, 9)]


def test_a_change_says_what_else_changed_and_that_the_commit_did_not() -> None:
    packages = {"torch": "2.13.0", "triton": "3.1"}
    runs = [at(i, "a" * 40, packages=packages) for i in range(5)]
    runs += [
        at(i, "a" * 40, packages=packages | {"triton": "3.2"}, kernel="6.8", load_average=9.0) for i in range(5, 10)
    ]
    text = history.say(analysed([1.0] * 5 + [0.5] * 5, runs).trends[0].changes[0], runs)
    assert text.endswith(
        "-50 % (-50 % to -50 %); the commit is the same; also changed: kernel 6.1 → 6.8, triton 3.1 → 3.2"
    )


def test_a_driver_that_changed_is_named_and_a_commit_that_is_unknown_is_not_made_up() -> None:
    runs = [at(i, gpus=[{"driver": "570.1" if i < 5 else "570.9"}]) for i in range(10)]
    text = history.say(analysed([1.0] * 5 + [2.0] * 5, runs).trends[0].changes[0], runs)
    assert "run quick-4 (no commit known)" in text
    assert text.endswith("also changed: GPU driver 570.1 → 570.9")


def test_runs_in_between_without_a_figure_are_told() -> None:
    readings = [reading(i, 1.0) for i in range(5)] + [Reading(5, {})] + [reading(i, 1.5) for i in range(6, 11)]
    runs = [at(i) for i in range(11)]
    found = history.analyse(runs, [history.series(soft(), "here", readings)])
    (change,) = found.trends[0].changes
    assert (change.before, change.after) == (4, 6)
    assert history.say(change, runs).endswith("1 run in between without a figure of it")


def test_too_few_runs_are_said_to_be_too_few() -> None:
    (trend,) = analysed([1.0] * 3 + [2.0] * 4).trends
    assert trend.changes == ()
    assert trend.remark == "change points need at least 8 runs, this has 7"
    assert analysed([1.0] * 4 + [2.0] * 4).changes == 1


def test_figures_that_are_zero_are_followed_without_change_points() -> None:
    readings = [Reading(i, {"drop_rate": {0: 0.0 if i < 5 else 0.2}}) for i in range(10)]
    (trend,) = history.analyse(
        [at(i) for i in range(10)], [history.series(soft(), "here", readings, "drop_rate")]
    ).trends
    assert trend.remark == "change points need figures above zero"
    assert trend.series.change is None
    assert trend.levels() == []


def test_the_worst_change_comes_first_whichever_direction_is_worse() -> None:
    cases = [soft(num_experts=count) for count in (2, 4, 8)]
    after = dict(zip(cases, (1.0, 0.5, 1.5), strict=True))
    readings = {
        case: [
            Reading(i, {"throughput": {1: 1.0 if i < 5 else level}, "latency": {1: 1.0 if i < 5 else level}})
            for i in range(10)
        ]
        for case, level in after.items()
    }
    runs = [at(i) for i in range(10)]

    def order(metric: str) -> list[object]:
        series = [history.series(case, "here", found, metric) for case, found in readings.items()]
        return [trend.series.case["num_experts"] for trend in history.analyse(runs, series, metric=metric).trends]

    assert order("latency") == [8, 4, 2]
    assert order("throughput") == [4, 8, 2]


@pytest.mark.parametrize(
    ("command", "settings", "belongs"),
    [
        ("softmoe-bench run --grid quick --name selfcheck-like", {}, True),
        ("softmoe-bench selfcheck --grid quick", {}, False),
        ("softmoe-bench duel --grid quick", {}, False),
        ("", {"duel": {"base": "a"}}, False),
        ("", {}, True),
    ],
)
def test_runs_of_selfcheck_and_duel_are_no_history(command: str, settings: dict[str, object], *, belongs: bool) -> None:
    assert history.belongs(replace(run(), command=command, settings=settings)) is belongs
