"""What github-action-benchmark and Bencher read: names and units that stay, and beside a figure how certain it is."""

import json

import pytest
from recorded import dense, failed, measured, results, soft

from bench.errors import InputError
from bench.exchange.dashboards import bencher, github_action_benchmark
from bench.exchange.record import in_order, stable_name

FOUND = results(
    [*measured(soft(), [1.0e-3, 1.1e-3, 1.21e-3]), *measured(dense(), [2e-3]), failed(soft(batch_size=64))],
    [soft(), dense(), soft(batch_size=64)],
)
SOFT = "soft/fused experts=8 slots=4 seq_len=32 d_model=16 d_ff=32 device=cpu"


def test_github_action_benchmark_takes_a_list_of_figures() -> None:
    """Its schema: name, value and unit must be there; range and extra may be, and all but value are texts."""
    entries = json.loads(github_action_benchmark(FOUND))
    assert len(entries) == 4
    assert all(set(entry) <= {"name", "unit", "value", "range", "extra"} for entry in entries)
    assert all(isinstance(entry[key], str) for entry in entries for key in entry if key != "value")
    first, memory, *_ = entries
    assert (first["name"], first["unit"], first["value"]) == (f"{SOFT} latency", "ms", pytest.approx(1.1))
    assert first["range"].startswith("± 0.2")
    assert "3 processes" in first["extra"]
    assert "1.10× the reference kernel" in first["extra"]
    assert (memory["name"], memory["unit"]) == (f"{SOFT} peak_memory", "MiB")
    assert memory["value"] == pytest.approx(2e6 / 2**20, rel=1e-5)


def test_one_process_has_no_range_and_says_so() -> None:
    (entry,) = [
        e for e in json.loads(github_action_benchmark(FOUND)) if e["name"].startswith("dense") and "ms" in e["unit"]
    ]
    assert "range" not in entry
    assert "1 process\n" in entry["extra"]
    assert "few_repeats" in entry["extra"]


def test_bencher_takes_nanoseconds_and_bounds() -> None:
    content = json.loads(bencher(FOUND))
    assert set(content) == {SOFT, stable_name(dense())}
    assert set(content[SOFT]) == {"latency", "relative-latency", "memory"}
    latency = content[SOFT]["latency"]
    assert set(latency) == {"value", "lower_value", "upper_value"}
    assert latency["value"] == pytest.approx(1.1e6, rel=1e-5)
    assert latency["lower_value"] < latency["value"] < latency["upper_value"]
    assert set(content[stable_name(dense())]["latency"]) == {"value"}
    assert content[SOFT]["memory"] == {"value": 2_000_000}


@pytest.mark.parametrize("write", [github_action_benchmark, bencher])
def test_a_run_without_figures_is_refused(write: object) -> None:
    """An empty list fails in the action, far from its cause."""
    with pytest.raises(InputError, match="run quick-1: no case has a latency"):
        write(results([failed(soft())], [soft()]))  # type: ignore[operator]


def test_names_do_not_depend_on_what_else_is_measured_and_tell_all_cases_apart() -> None:
    cases = [
        soft(batch_size=batch, dtype=dtype, mode=mode, threads=threads, normalize=normalize)
        for batch in (1, 4)
        for dtype in ("float32", "bfloat16")
        for mode in ("forward", "train_step")
        for threads in (None, 1)
        for normalize in ("logits", "none")
    ]
    assert len({stable_name(case) for case in cases}) == len(cases)
    assert stable_name(soft()) == SOFT


def test_cases_from_a_file_are_listed_as_a_grid_lists_them() -> None:
    cases = [soft(batch_size=16), soft(batch_size=2), dense(), soft(num_experts=4, batch_size=2)]
    assert in_order(cases) == [cases[2], cases[3], cases[1], cases[0]]
