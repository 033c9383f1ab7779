from dataclasses import replace

import pandas as pd
from recorded import dense, failed, measured, results, soft

from bench import table
from bench.records import Status


def test_one_row_per_sample_and_one_column_per_axis() -> None:
    cases = [soft(), dense()]
    frame = table.tidy([results(measured(cases[0], [1.0, 2.0]) + measured(cases[1], [3.0]), cases)])
    assert list(frame.columns[:8]) == ["run", "case", "repeat", "sample", "metric", "value", "unit", "status"]
    latency = frame[frame.metric == "latency"]
    assert len(latency) == 3 * 5
    assert sorted(latency.value.unique()) == [1.0, 2.0, 3.0]
    assert set(latency.unit) == {"s"}
    assert latency[latency.layer == "dense"].num_experts.isna().all()
    assert frame.num_experts.dtype == "Int64"
    assert frame[frame.metric == "throughput"].value.max() == 32 / 1.0


def test_a_failed_process_is_a_row_without_figure() -> None:
    frame = table.tidy([results([failed(soft())], [soft()])])
    assert frame[["status", "case"]].to_numpy().tolist() == [["error", soft().id]]
    assert frame.value.isna().all()


def test_the_summary_has_a_row_per_case_and_metric() -> None:
    frame = table.summary([results(measured(soft(), [1.0, 1.0, 1.0]), [soft(), dense()])])
    latency = frame[frame.metric == "latency"].iloc[0]
    assert (latency.value, latency.low, latency.high, latency.processes, latency.samples) == (1.0, 1.0, 1.0, 3, 15)
    assert frame[frame.layer == "dense"].status.tolist() == ["not measured"]


def test_caveats_are_named_in_the_summary() -> None:
    frame = table.summary([results(measured(soft(), [1.0]), [soft()])])
    assert set(frame.caveats) == {"few_repeats"}


def test_no_run_gives_an_empty_table_with_its_columns() -> None:
    assert list(table.tidy([]).columns) == table.LEAD
    assert isinstance(table.summary([]), pd.DataFrame)


def test_every_status_is_written_in_its_word() -> None:
    outcomes = [failed(soft(), Status.OUT_OF_MEMORY)]
    assert table.summary([results(outcomes, [soft()])]).status.tolist() == ["out_of_memory"]


def test_marks_stand_beside_their_samples() -> None:
    outcomes = measured(soft(), [1.0])
    outcomes[1] = replace(outcomes[1], facts={"marks": {"throttled": [3, 4], "preempted": [4]}})
    frame = table.tidy([results(outcomes, [soft()])])
    for metric in ("latency", "reference_latency", "throughput"):
        assert frame[frame.metric == metric].marks.tolist() == ["", "", "", "throttled", "throttled preempted"]
    assert set(frame[frame.metric == "peak_memory"].marks) == {""}
