"""Shares of what a device can do, worked out by hand, and the figures that no device can reach."""

from dataclasses import replace
from pathlib import Path

import pytest
from recorded import CEILINGS, dense, inspected, measured, results, run, timed

from bench import layers, table
from bench.environment import GIB
from bench.metrics import TABLE, roofline
from bench.plan import single
from bench.records import Case, Ceiling, Environment, Flag, Planned
from bench.results import RunResults, load, of_outcomes
from bench.store import open_store

H100 = {"gpu": "NVIDIA H100 80GB HBM3", "gpu_sm_count": 132, "gpu_memory_bytes": 80 * GIB}
EXACT = {"tf32": False, "float32_matmul_precision": "highest"}
ON_H100 = Environment({**H100, **EXACT, "torch_threads": 8}, {"gpus": [{"mig_enabled": False}]})
MEASURED = (
    Ceiling("cuda", "bandwidth", "B/s", (2.8e12, 3.0e12, 3.1e12), "copy"),
    Ceiling("cuda", "bfloat16", "FLOP/s", (7e14, 8e14, 9e14), "8192 x 8192 x 8192"),
    Ceiling("cuda", "cache", "B", (50e6,)),
    Ceiling("cuda", "float32", "FLOP/s", (5e13,)),
    Ceiling("cuda", "tf32", "FLOP/s", (4e14,)),
)
SHAPE = {"batch_size": 8, "seq_len": 4096, "d_model": 4096, "d_ff": 16384}


def on_gpu(**axes: object) -> Case:
    return single("dense", {**SHAPE, "dtype": "bfloat16", "device": "cuda", **axes}, devices=("cpu", "cuda"))


def share(name: str, case: Case, observed: dict[str, tuple[float, ...]]) -> tuple[float, ...]:
    derive = TABLE[name].derive
    assert derive is not None
    return derive(case, observed)


# what is known of a machine


def test_a_gpu_has_the_ceilings_of_its_data_sheet_and_those_measured() -> None:
    assert roofline.known(on_gpu(), ON_H100, MEASURED) == {
        "peak_flops_per_s": (989.4e12,),
        "peak_bandwidth": (3.35e12,),
        "ceiling_flops_per_s": (8e14,),
        "ceiling_bandwidth": (3.0e12,),
        "cache_bytes": (50e6,),
    }
    assert set(roofline.known(on_gpu(), ON_H100, MEASURED)) == set(roofline.KNOWN)


def test_a_machine_that_was_never_calibrated_has_only_its_data_sheet() -> None:
    assert set(roofline.known(on_gpu(), ON_H100, ())) == {"peak_flops_per_s", "peak_bandwidth"}


def test_a_gpu_that_is_not_in_the_table_has_only_what_was_measured() -> None:
    stranger = Environment({"gpu": "NVIDIA X900", "gpu_sm_count": 132, "gpu_memory_bytes": 80 * GIB})
    assert set(roofline.known(on_gpu(), stranger, MEASURED)) == {
        "ceiling_flops_per_s",
        "ceiling_bandwidth",
        "cache_bytes",
    }
    assert roofline.known(on_gpu(), stranger, ()) == {}


def test_a_slice_of_a_gpu_has_no_data_sheet() -> None:
    sliced = replace(ON_H100, informational={"gpus": [{"mig_enabled": True}]})
    assert roofline.known(on_gpu(), sliced, ()) == {}


def test_float32_is_held_against_tf32_where_that_is_allowed() -> None:
    case = on_gpu(dtype="float32")
    exact = roofline.known(case, ON_H100, MEASURED)
    assert (exact["peak_flops_per_s"], exact["ceiling_flops_per_s"]) == ((66.9e12,), (5e13,))
    allowed = replace(ON_H100, comparable={**ON_H100.comparable, "tf32": True})
    rounded = roofline.known(case, allowed, MEASURED)
    assert (rounded["peak_flops_per_s"], rounded["ceiling_flops_per_s"]) == ((494.7e12,), (4e14,))


def test_a_cpu_has_no_data_sheet_and_is_not_the_gpu_beside_it() -> None:
    case = single("dense", {**SHAPE, "dtype": "bfloat16"})
    assert roofline.known(case, ON_H100, MEASURED) == {}


@pytest.mark.parametrize(("threads", "holds"), [(None, True), (8, True), (4, False)])
def test_a_measured_ceiling_holds_for_the_threads_it_was_measured_with(threads: int | None, holds: bool) -> None:
    case = dense(threads=threads)
    known = roofline.known(case, Environment({"torch_threads": 8}), CEILINGS)
    assert ("ceiling_flops_per_s" in known) is holds
    assert ("ceiling_bandwidth" in known) is holds


# shares by hand


def test_shares_by_hand() -> None:
    case = single("dense", {"batch_size": 2, "seq_len": 6, "d_model": 5, "d_ff": 7})
    flops = 4 * 12 * 5 * 7
    fewest = 4 * (2 * 5 * 7 + 7 + 5 + 2 * 12 * 5 + 12 * 7)
    observed = {
        "latency": (0.5, 0.25),
        "peak_flops_per_s": (10_000.0,),
        "ceiling_flops_per_s": (8_000.0,),
        "peak_bandwidth": (5_000.0,),
        "ceiling_bandwidth": (4_000.0,),
    }
    assert share("mfu", case, observed) == (flops / 5_000, flops / 2_500)
    assert share("ceiling_share", case, observed) == (flops / 4_000, flops / 2_000)
    assert share("executed_share", case, observed) == (flops / 4_000, flops / 2_000)
    assert share("peak_bandwidth_share", case, observed) == (fewest / 2_500, fewest / 1_250)
    assert share("bandwidth_share", case, observed) == (fewest / 2_000, fewest / 1_000)


def test_work_in_vain_shows_in_the_executed_share_only() -> None:
    case = single("token_choice", {"num_experts": 3, "backend": "einsum", "capacity_factor": 1.5, "top_k": 1})
    observed = {"latency": (1.0,), "ceiling_flops_per_s": (1e12,)}
    (useful,), (executed,) = (share(name, case, observed) for name in ("ceiling_share", "executed_share"))
    cost = layers.cost(case)
    assert cost is not None
    assert (useful, executed) == (cost.useful_flops / 1e12, cost.executed_flops / 1e12)  # type: ignore[operator]
    assert executed > useful


def test_a_time_of_nought_gives_no_share() -> None:
    assert share("mfu", on_gpu(), {"latency": (0.0,), "peak_flops_per_s": (1e12,)}) == ()


@pytest.mark.parametrize("name", [metric.name for metric in roofline.FAMILY])
def test_a_layer_without_formula_has_no_share(name: str) -> None:
    case = on_gpu().with_axes(layer="my:Layer")
    assert share(name, case, {"latency": (1.0,), **dict.fromkeys(roofline.KNOWN, (1.0,))}) == ()


# results


def found(case: Case, seconds: float, machine: Environment, ceilings: tuple[Ceiling, ...] = MEASURED) -> RunResults:
    outcomes = [timed(case, repeat, seconds) for repeat in (1, 2, 3)]
    return of_outcomes(replace(run(), environment=machine), [Planned(case)], outcomes, ceilings)


def caveats(case: Case, seconds: float, machine: Environment, ceilings: tuple[Ceiling, ...] = MEASURED) -> list[Flag]:
    return list(found(case, seconds, machine, ceilings).cases[0].flags)


def useful(case: Case) -> float:
    cost = layers.cost(case)
    assert cost is not None
    assert cost.useful_flops is not None
    return cost.useful_flops


def test_shares_are_figures_of_a_case_and_rows_of_an_export_and_ceilings_are_not() -> None:
    case = on_gpu()
    seconds = useful(case) / 400e12
    result = found(case, seconds, ON_H100)
    assert result.cases[0].value("mfu") == pytest.approx(400 / 989.4)
    assert result.cases[0].value("ceiling_share") == pytest.approx(0.5)
    rows = table.tidy([result])
    assert set(rows.metric) >= {"mfu", "ceiling_share", "executed_share", "bandwidth_share", "peak_bandwidth_share"}
    assert not set(rows.metric) & set(roofline.KNOWN)
    assert not set(table.summary([result]).metric) & set(roofline.KNOWN)
    assert result.cases[0].flags == ()


def test_without_any_ceiling_there_is_no_share() -> None:
    figures = results(measured(dense(), [1.0, 1.0, 1.0]), [dense()]).cases[0].figures
    assert not {metric.name for metric in roofline.FAMILY} & set(figures)


def test_a_stored_run_is_held_against_what_its_machine_was_calibrated_to_later(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "s.db"), create=True)
    case = dense()
    store.start_run(run(), [Planned(case)])
    for outcome in measured(case, [1.0, 1.0, 1.0]):
        store.add_outcome(run().id, outcome)
    assert load(store, run()).cases[0].value("ceiling_share") is None
    store.keep_ceilings(run(cpu="Another CPU").environment, CEILINGS)
    assert load(store, run()).cases[0].value("ceiling_share") is None
    store.keep_ceilings(run().environment, CEILINGS)
    assert load(store, run()).cases[0].value("ceiling_share") == pytest.approx(useful(case) / 1.0e11)
    assert load(store, run()).cases[0].value("mfu") is None
    store.close()


# what no device can do


@pytest.mark.parametrize(
    ("tflops", "flags"),
    [
        (700.0, []),
        (839.0, []),
        (841.0, [Flag("suspect", "105% of the measured FLOP/s")]),
        (1030.0, [Flag("suspect", "129% of the measured FLOP/s")]),
        (1484.1, [Flag("suspect", "150% of the data sheet's FLOP/s, 186% of the measured FLOP/s")]),
    ],
)
def test_a_rate_above_its_ceiling_is_suspect(tflops: float, flags: list[Flag]) -> None:
    assert caveats(on_gpu(), useful(on_gpu()) / (tflops * 1e12), ON_H100) == flags


def test_without_a_calibration_the_data_sheet_judges() -> None:
    case = on_gpu()
    assert caveats(case, useful(case) / 1030e12, ON_H100, ()) == []
    assert [flag.code for flag in caveats(case, useful(case) / 1050e12, ON_H100, ())] == ["suspect"]


def test_what_a_backend_executes_must_fit_below_the_ceiling_too() -> None:
    case = single(
        "token_choice",
        {**SHAPE, "num_experts": 4, "backend": "einsum", "capacity_factor": 2.0, "top_k": 1, "dtype": "bfloat16"}
        | {"device": "cuda"},
        devices=("cpu", "cuda"),
    )
    cost = layers.cost(case)
    assert cost is not None
    assert cost.executed_flops is not None
    assert cost.executed_flops > 1.5 * useful(case)
    assert caveats(case, cost.executed_flops / 800e12, ON_H100) == []
    assert caveats(case, cost.executed_flops / 1600e12, ON_H100) == [
        Flag("suspect", "162% of the data sheet's FLOP/s, 200% of the measured FLOP/s")
    ]


def streaming() -> tuple[Case, float]:
    """One token through large weights, and the bytes that memory must give: weights and output, less the cache."""
    case = on_gpu(batch_size=1, seq_len=1)
    cost = layers.cost(case)
    assert cost is not None
    return case, cost.parameter_bytes + cost.output_bytes - 50e6


def test_weights_that_come_faster_than_memory_gives_them_are_suspect() -> None:
    case, moved = streaming()
    assert caveats(case, moved / 3.1e12, ON_H100) == []
    assert caveats(case, moved / 3.3e12, ON_H100) == [Flag("suspect", "110% of the measured bandwidth")]
    assert caveats(case, moved / 6.7e12, ON_H100) == [
        Flag("suspect", "200% of the data sheet's bandwidth, 223% of the measured bandwidth")
    ]


def test_a_layer_that_fits_in_the_cache_may_be_faster_than_memory() -> None:
    case = on_gpu(batch_size=1, seq_len=1, d_model=1024, d_ff=4096)
    cost = layers.cost(case)
    assert cost is not None
    assert cost.min_bytes is not None
    assert cost.min_bytes < 50e6
    result = found(case, cost.min_bytes / 6e12, ON_H100).cases[0]
    assert result.value("bandwidth_share") == pytest.approx(2.0)
    assert result.flags == ()


def test_what_a_kernel_keeps_in_caches_between_its_products_is_not_held_against_it() -> None:
    """Long sequences: what lies between x and y is most of the fewest bytes, and a fused kernel never writes it."""
    case = on_gpu(d_model=256, d_ff=2048, seq_len=65536)
    cost = layers.cost(case)
    assert cost is not None
    assert cost.min_bytes is not None
    crossing = cost.parameter_bytes + cost.output_bytes
    assert cost.min_bytes > 5 * crossing
    seconds = crossing / 2.9e12
    only_memory = tuple(one for one in MEASURED if one.what in ("bandwidth", "cache"))
    result = found(case, seconds, Environment({}), only_memory).cases[0]
    assert result.value("bandwidth_share") > 5  # type: ignore[operator]
    assert [flag.code for flag in result.flags] == ["unknown_peak"]


def test_a_size_of_cache_that_is_unknown_lets_no_bandwidth_be_judged() -> None:
    case, moved = streaming()
    assert caveats(case, moved / 6.7e12, ON_H100, ()) == []


def test_a_gpu_of_which_nobody_knows_the_peak_says_so() -> None:
    stranger = Environment({"gpu": "NVIDIA X900", "gpu_sm_count": 1, "gpu_memory_bytes": GIB, "tf32": True})
    assert caveats(on_gpu(), 1.0, stranger, ()) == [Flag("unknown_peak", "NVIDIA X900, bfloat16")]
    assert caveats(on_gpu(dtype="float32"), 1.0, stranger, ()) == [Flag("unknown_peak", "NVIDIA X900, tf32")]
    assert caveats(on_gpu(), 1.0, stranger) == []
    assert caveats(on_gpu(), 1.0, Environment({}), ()) == [Flag("unknown_peak", "a GPU without a name, bfloat16")]


def test_a_format_that_the_data_sheet_leaves_out_is_an_unknown_peak() -> None:
    l40s = Environment({"gpu": "NVIDIA L40S", "gpu_sm_count": 142, "gpu_memory_bytes": 45 * GIB})
    assert caveats(on_gpu(), 1.0, l40s, ()) == [Flag("unknown_peak", "NVIDIA L40S, bfloat16")]


def test_a_cpu_and_a_layer_without_formula_have_no_peak_to_miss() -> None:
    nobody = Environment({})
    assert caveats(dense(), 1.0, nobody, ()) == []
    assert caveats(on_gpu().with_axes(layer="my:Layer"), 1.0, nobody, ()) == []


def test_a_case_that_was_only_inspected_is_not_judged() -> None:
    result = of_outcomes(run(), [Planned(on_gpu())], [inspected(on_gpu())])
    assert result.cases[0].flags == ()
