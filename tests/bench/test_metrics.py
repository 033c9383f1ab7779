"""The table of metrics, and derived figures worked out by hand."""

import ast
from pathlib import Path
from typing import Any

import pytest

from bench import units
from bench.metrics import TABLE, Metric, accuracy, breakdown, efficiency, energy, memory, roofline, routing, speed
from bench.plan import single
from bench.records import Case

BENCH = Path(__file__).parents[2] / "bench"
FAMILIES = (
    speed.FAMILY,
    memory.FAMILY,
    breakdown.FAMILY,
    efficiency.FAMILY,
    roofline.FAMILY,
    energy.FAMILY,
    routing.FAMILY,
    accuracy.FAMILY,
)
DENSE = single("dense", {"batch_size": 2, "seq_len": 6, "d_model": 5, "d_ff": 7})
FLOPS = 4 * 12 * 5 * 7  # two products of 12 rows
OUTSIDE = DENSE.with_axes(layer="my:Layer")
TIMES = {"latency": (0.5, 0.25), "reference_latency": (0.25, 0.5)}
ENERGY = {"energy": (6.0, 3.0), "energy_time": (0.5, 0.125)}
OBSERVED = TIMES | ENERGY


def derived(name: str, case: Case, observed: dict[str, tuple[float, ...]] | None = None) -> tuple[float, ...]:
    derive = TABLE[name].derive
    assert derive is not None
    return derive(case, observed or {})


@pytest.mark.parametrize("metric", TABLE.values(), ids=lambda metric: metric.name)
def test_a_metric_is_described(metric: Metric) -> None:
    assert metric.title
    assert metric.text.endswith(".")
    assert metric.better in {"lower", "higher", None}
    observed = set(metric.needs) - set(roofline.KNOWN)
    assert observed <= set(TABLE)
    assert all(TABLE[need].derive is None for need in observed)
    assert metric.derive is not None or not metric.needs


@pytest.mark.parametrize("metric", TABLE.values(), ids=lambda metric: metric.name)
def test_a_metric_is_in_a_base_unit(metric: Metric) -> None:
    assert metric.unit in units._SCALES


def test_names_are_unique_and_in_the_order_of_the_report() -> None:
    named = [metric.name for family in FAMILIES for metric in family]
    assert list(TABLE) == named
    assert len({metric.title for metric in TABLE.values()}) == len(TABLE)
    assert named == [
        "latency",
        "throughput",
        "wall_latency",
        "compile_time",
        "reference_latency",
        "base_latency",
        "relative_latency",
        "peak_memory",
        "activation_memory",
        "parameter_memory",
        "optimizer_memory",
        "saved_memory",
        "reserved_memory",
        "fragmentation",
        "profiled_time",
        "attention_time",
        "dense_time",
        "router_time",
        "dispatch_time",
        "experts_time",
        "combine_time",
        "other_time",
        "parameters",
        "flops",
        "flops_executed",
        "useful_share",
        "flops_torch",
        "flops_fvcore",
        "flops_per_s",
        "arithmetic_intensity",
        "mfu",
        "ceiling_share",
        "executed_share",
        "bandwidth_share",
        "peak_bandwidth_share",
        "energy",
        "energy_per_token",
        "energy_time",
        "power",
        "drop_rate",
        "unrouted_rate",
        "load_imbalance",
        "max_abs_error",
        "routing_agreement",
    ]


def test_what_a_worker_observes_is_in_the_table_with_that_unit() -> None:
    """Read from the worker's source: importing it would import torch."""
    found = set()
    for path in (BENCH / "worker").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {"Observation", "one"}
            ):
                words = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant)]
                found |= {tuple(words)} if len(words) == 2 else set()
    observed = {(metric.name, metric.unit) for metric in TABLE.values() if metric.derive is None}
    assert found <= observed
    assert ("latency", "s") in found
    assert ("max_abs_error", "abs") in found


# figures by hand


@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("throughput", (24.0, 48.0)),
        ("relative_latency", (2.0, 0.5)),
        ("flops", (FLOPS,)),
        ("flops_executed", (FLOPS,)),
        ("flops_per_s", (2 * FLOPS, 4 * FLOPS)),
        ("energy_per_token", (0.5, 0.25)),
        ("power", (12.0, 24.0)),
        # parameters 2DF + F + D, x and y of 12 x 5, hidden 12 x 7, four bytes each
        ("arithmetic_intensity", (FLOPS / (4 * (2 * 5 * 7 + 7 + 5 + 2 * 12 * 5 + 12 * 7)),)),
    ],
)
def test_derived_figures_by_hand(name: str, samples: tuple[float, ...]) -> None:
    assert derived(name, DENSE, OBSERVED) == samples


def test_no_name_of_a_ceiling_is_that_of_a_metric() -> None:
    assert not set(roofline.KNOWN) & set(TABLE)


def test_a_step_with_gradients_is_three_forward_steps_of_work() -> None:
    both = DENSE.with_axes(mode="forward_backward")
    assert derived("flops", both) == (3 * FLOPS,)
    assert derived("flops_per_s", both, TIMES) == (6 * FLOPS, 12 * FLOPS)
    assert derived("throughput", both, TIMES) == (24.0, 48.0)


def test_executed_work_includes_what_the_backend_adds() -> None:
    shape = {"num_experts": 3, "seq_len": 6, "d_model": 5, "d_ff": 7, "top_k": 1}
    router, row = 2 * 6 * 5 * 3, 4 * 5 * 7
    indexed = single("token_choice", {**shape, "backend": "indexed", "capacity_factor": 1.5})
    assert derived("flops", indexed) == (router + 6 * row,)
    assert derived("flops_executed", indexed) == (router + 9 * row,)  # three places of each of three experts
    einsum = indexed.with_axes(backend="einsum")
    assert derived("flops_executed", einsum) == (router + 9 * row + 2 * (2 * 6 * 9 * 5),)
    assert derived("useful_share", indexed) == ((router + 6 * row) / (router + 9 * row),)
    assert derived("useful_share", DENSE) == (1.0,)


def test_work_that_is_done_once_and_asked_for_twice_has_no_useful_share() -> None:
    peer = single("peer", {"num_experts": 9, "top_k": 4, "d_ff": 16, "seq_len": 6, "d_model": 8, "backend": "einsum"})
    assert derived("flops", peer) > derived("flops_executed", peer)
    assert derived("useful_share", peer) == ()


def test_work_that_depends_on_the_tokens_is_unknown_and_so_has_no_sample() -> None:
    case = single("token_choice", {"num_experts": 4, "backend": "grouped", "capacity_factor": 1.0})
    assert derived("flops_executed", case) == ()
    assert derived("useful_share", case) == ()
    assert len(derived("flops", case)) == 1


@pytest.mark.parametrize("name", ["flops", "flops_executed", "useful_share", "flops_per_s", "arithmetic_intensity"])
def test_a_layer_from_outside_has_no_formula_and_so_no_sample(name: str) -> None:
    assert derived(name, OUTSIDE, TIMES) == ()


def test_a_layer_from_outside_has_a_throughput() -> None:
    assert derived("throughput", OUTSIDE, TIMES) == (24.0, 48.0)


@pytest.mark.parametrize("name", [metric.name for metric in TABLE.values() if metric.needs])
def test_what_was_not_observed_gives_no_sample(name: str) -> None:
    assert derived(name, DENSE) == ()
    for need in TABLE[name].needs:
        assert derived(name, DENSE, {key: values for key, values in OBSERVED.items() if key != need}) == ()


@pytest.mark.parametrize("name", ["throughput", "flops_per_s", "relative_latency", "power"])
def test_a_time_of_nought_gives_no_sample_and_no_infinity(name: str) -> None:
    expected: dict[str, Any] = {
        "throughput": (24.0,),
        "flops_per_s": (2 * FLOPS,),
        "relative_latency": (2.0,),
        "power": (12.0,),
    }
    observed = ENERGY | {"latency": (0.5, 0.0), "reference_latency": (0.25, 0.0), "energy_time": (0.5, 0.0)}
    assert derived(name, DENSE, observed) == expected[name]


def test_a_sample_goes_with_the_reference_taken_right_after_it() -> None:
    observed = {"latency": (3.0, 8.0, 5.0), "reference_latency": (1.0, 2.0)}
    assert derived("relative_latency", DENSE, observed) == (3.0, 4.0)


def test_observed_figures_are_not_derived() -> None:
    names = {metric.name for metric in TABLE.values() if metric.derive is not None}
    assert names == {
        "throughput",
        "relative_latency",
        "flops",
        "flops_executed",
        "useful_share",
        "flops_per_s",
        "arithmetic_intensity",
        *(metric.name for metric in roofline.FAMILY),
        "energy_per_token",
        "power",
    }
