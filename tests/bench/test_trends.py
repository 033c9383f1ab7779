"""Histories from a store: which runs and cases a word names, and which figures are read."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from recorded import CEILINGS, failed, measured, run, soft

from bench import metrics, results, trends
from bench.errors import InputError
from bench.records import Case, Flag, Outcome, Planned
from bench.store import Store, open_store

SMALL, LARGE = soft(), soft(batch_size=64)


@pytest.fixture
def store() -> Iterator[Store]:
    made = open_store("sqlite://", create=True)
    yield made
    made.close()


def add(
    store: Store, number: int, found: dict[Case, list[Outcome]], *, state: str = "complete", **more: object
) -> None:
    """Keeps a run with these outcomes; `cpu` is where it was made, other words are fields of the run."""
    facts = {"cpu": more.pop("cpu")} if "cpu" in more else {}
    made = replace(run(f"quick-{number}", id=f"{number:012x}", **facts), **more)  # type: ignore[arg-type]
    store.start_run(made, [Planned(case) for case in found])
    for outcomes in found.values():
        for outcome in outcomes:
            store.add_outcome(made.id, outcome)
    store.set_state(made.id, state)


def named(store: Store, word: str, **options: object) -> list[str]:
    return [made.name for made in trends.load(store, word, **options).runs]  # type: ignore[arg-type]


def test_the_figures_are_those_of_results(store: Store) -> None:
    """The fast way to a figure and the way of every other command agree, for every metric there is."""
    timed = measured(SMALL, [1.0, 1.1, 1.2], references=[2.0, 2.0, 3.0])
    add(store, 1, {SMALL: timed, LARGE: measured(LARGE, [3.0])})
    store.keep_ceilings(run().environment, CEILINGS)
    full = {result.case.id: result for result in results.load(store, store.find("latest")).cases}
    assert {"throughput", "flops", "peak_memory", "ceiling_share"} <= set(full[SMALL.id].figures)
    for metric in set(metrics.TABLE) - {"latency"}:
        for trend in trends.load(store, "quick", metric=metric).trends:
            expected = full[trend.series.case.id].value(metric)
            assert trend.series.values == ([] if expected is None else pytest.approx([expected])), metric
    relative = trends.load(store, SMALL.id).trends[0].series
    assert relative.values == pytest.approx([(0.5 * 0.55 * 0.4) ** (1 / 3)])


def test_disturbed_processes_are_known_by_their_flags(store: Store) -> None:
    busy = replace(measured(SMALL, [9.0])[1], repeat=4, flags=(Flag("loaded"),))
    add(store, 1, {SMALL: [*measured(SMALL, [1.0, 1.0, 1.0]), busy]})
    assert trends.load(store, "quick").trends[0].series.values == pytest.approx([1000.0])


def test_one_series_per_case_in_the_order_of_the_runs_whatever_their_clocks_said(store: Store) -> None:
    for number, started in ((1, 300.0), (2, 100.0), (3, 200.0)):
        add(store, number, {SMALL: measured(SMALL, [float(number)]), LARGE: measured(LARGE, [9.0])}, started=started)
    found = trends.load(store, "quick")
    assert [made.name for made in found.runs] == ["quick-1", "quick-2", "quick-3"]
    assert {t.series.case.id: len(t.series.points) for t in found.trends} == {SMALL.id: 3, LARGE.id: 3}
    (alone,) = trends.load(store, SMALL.id[:5]).trends
    assert alone.series.values == pytest.approx([1e3, 2e3, 3e3])
    assert {case.id for case in trends.load(store, SMALL.id).cases} == {SMALL.id, LARGE.id}, "its name is told apart"
    assert named(store, "all", last=2) == ["quick-2", "quick-3"]


def test_a_grid_is_named_as_it_was_given_or_by_the_stem_of_its_file_or_of_the_names_of_its_runs(store: Store) -> None:
    add(store, 1, {SMALL: measured(SMALL, [1.0])}, grid="grids/mine.toml", name="nightly-1")
    add(store, 2, {SMALL: measured(SMALL, [1.0])})
    for word in ("grids/mine.toml", "mine", "nightly"):
        assert named(store, word) == ["nightly-1"]
    assert named(store, "quick") == ["quick-2"]
    assert named(store, SMALL.id) == ["nightly-1", "quick-2"]


def test_only_runs_of_the_newest_ones_machine_unless_all_are_asked_for(store: Store) -> None:
    for number, cpu in enumerate(("here", "there", "here"), 1):
        add(store, number, {SMALL: measured(SMALL, [1.0])}, cpu=cpu)
    found = trends.load(store, "quick")
    assert [made.name for made in found.runs] == ["quick-1", "quick-3"]
    assert found.remarks == ("1 run of other machines or libraries left out: --all-machines shows them",)
    every = trends.load(store, "quick", all_machines=True)
    assert every.several_machines
    assert sorted([point.run for point in t.series.points] for t in every.trends) == [[0, 2], [1]]


def test_selfchecks_duels_and_unfinished_runs_are_left_out_and_imported_baselines_are_not(store: Store) -> None:
    figures = {SMALL: measured(SMALL, [1.0])}
    add(store, 1, figures, command="softmoe-bench run --grid quick")
    add(store, 2, figures, command="softmoe-bench selfcheck --grid quick")
    add(store, 3, figures, settings={"duel": {}})
    add(store, 4, figures, state="running")
    add(store, 5, figures, state="interrupted")
    add(store, 6, figures, settings={"imported": True}, command="")
    found = trends.load(store, "quick")
    assert [made.name for made in found.runs] == ["quick-1", "quick-5", "quick-6"]
    assert found.remarks == ("3 runs left out: of selfcheck or duel, or not finished",)


def test_a_case_that_failed_or_was_skipped_has_no_point(store: Store) -> None:
    add(store, 1, {SMALL: measured(SMALL, [1.0])})
    add(store, 2, {SMALL: [*measured(SMALL, [1.0]), failed(SMALL, repeat=2)]})
    add(store, 3, {SMALL: []})
    store.start_run(run("quick-4", id="000000000004"), [Planned(SMALL, "too large")])
    store.set_state("000000000004", "complete")
    (trend,) = trends.load(store, "quick").trends
    assert [point.run for point in trend.series.points] == [0]
    assert trend.series.missing == (1, 2)


def test_a_change_is_found_in_a_store(store: Store) -> None:
    for number in range(12):
        level = 1.0 if number < 7 else 1.2
        add(store, number, {SMALL: measured(SMALL, [level * (1 + 0.002 * (number % 3))] * 3)})
    (trend,) = trends.load(store, "quick").trends
    (change,) = trend.changes
    assert (change.before, change.after) == (6, 7)
    assert change.ratio.estimate == pytest.approx(1.2, rel=0.01)
    (memory,) = trends.load(store, "quick", metric="peak_memory").trends
    assert memory.changes == ()
    assert trends.load(store, "quick", threshold=0.3).changes == 0


def test_unknown_words_get_one_clear_line(store: Store) -> None:
    with pytest.raises(InputError, match="has no run yet"):
        trends.load(store, "quick")
    add(store, 1, {SMALL: measured(SMALL, [1.0]), LARGE: measured(LARGE, [1.0])})
    with pytest.raises(
        InputError, match=r"unknown case or grid 'quikc'; did you mean quick\? \(store .* has runs of: quick;"
    ):
        trends.load(store, "quikc")
    with pytest.raises(InputError, match="unknown case or grid"):
        trends.load(store, SMALL.id[:2])
    with pytest.raises(InputError, match="unknown metric 'latncy'; did you mean latency"):
        trends.load(store, "quick", metric="latncy")


def test_a_start_that_several_cases_share_is_refused(store: Store) -> None:
    by_start: dict[str, Case] = {}
    for seed in range(10_000):
        case = soft(seed=seed)
        if (other := by_start.setdefault(case.id[:3], case)) is not case:
            break
    add(store, 1, {case: measured(case, [1.0]), other: measured(other, [1.0])})
    with pytest.raises(InputError, match=f"case {case.id[:3]} is not unique: .*{case.id}.*give more of its id"):
        trends.load(store, case.id[:3])
