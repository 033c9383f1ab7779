"""Formula, torch's counter and fvcore agree on every backend of every layer, to the last operation."""

import examples
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from installed import parameters
from recorded import SETTINGS, soft

from bench import layers, plan
from bench.caveats import DISAGREEMENT
from bench.counts import COUNTERS, count_of, reconcile
from bench.errors import InputError
from bench.records import Case, Observation, Outcome, Status
from bench.worker import flops
from bench.worker.finding import Finding
from bench.worker.subject import build

SHAPE: dict[str, object] = {"seq_len": 32, "d_model": 16, "d_ff": 48, "batch_size": 2}


def variants() -> list[tuple[str, dict[str, object]]]:
    found: list[tuple[str, dict[str, object]]] = [("dense", {})]
    found += [("soft", {"num_experts": 4, "slots_per_expert": 3, "backend": b}) for b in layers.TABLE["soft"].backends]
    found += [
        ("soft", {"num_experts": 4, "slots_per_expert": 3, "backend": "fused", **asked})
        for asked in ({"memory": "low"}, {"active_experts": 2}, {"active_experts": 2, "subset_choice": "random"})
    ]
    found += [
        ("token_choice", {"num_experts": 4, "top_k": k, "capacity_factor": factor, "backend": b})
        for b in layers.TABLE["token_choice"].backends
        for k, factor in ((2, 1.0), (2, "none"), (1, 9.0))
    ]
    found += [
        ("expert_choice", {"num_experts": 4, "capacity_factor": 1.5, "backend": b})
        for b in layers.TABLE["expert_choice"].backends
    ]
    found += [
        (name, {"num_experts": 4, "capacity_factor": factor, "backend": b})
        for name in ("switch", "gshard", "vmoe")
        for b in layers.TABLE[name].backends
        for factor in (1.0, "none")
    ]
    found += [("mixtral", {"num_experts": 4, "backend": b}) for b in layers.TABLE["mixtral"].backends]
    found += [("smear", {"num_experts": 4, "activation": activation}) for activation in ("gelu", "swiglu")]
    found += [
        ("peer", {"num_experts": 25, "top_k": k, "backend": b}) for b in layers.TABLE["peer"].backends for k in (3, 8)
    ]
    found += [
        (name, {"num_experts": 4, "slots_per_expert": 8, "backend": b})
        for name in ("identity", "uniform", "soft_uniform", "uniform_soft")
        for b in layers.TABLE[name].backends
    ]
    found += [("dense_active", {"num_experts": 4}), ("dense_total", {"num_experts": 4})]
    found += [
        ("deepseek", {"num_experts": 4, "expert_groups": g, "num_shared_experts": s, "activation": a, "backend": b})
        for b in layers.TABLE["deepseek"].backends
        for g, s, a in ((1, 0, "gelu"), (2, 2, "gelu"), (1, 1, "swiglu"))
    ]
    found += [("hash_routing", {"num_experts": 4, "backend": b}) for b in layers.TABLE["hash_routing"].backends]
    found += [
        ("balanced_assignment", {"num_experts": e, "assignment": a, "backend": b})
        for b in layers.TABLE["balanced_assignment"].backends
        for e, a in ((4, "auction"), (5, "auction"), (4, "sinkhorn"))
    ]
    found += [("remoe", {"num_experts": 4, "backend": b}) for b in layers.TABLE["remoe"].backends]
    found += [
        ("vit", axes if backend is None else axes | {"backend": backend})
        for axes in examples.MODELS.values()
        for backend in layers.TABLE[str(axes["moe"])].backends or (None,)
    ]
    return found


def observe(case: Case) -> tuple[dict[str, float], Finding]:
    task = plan.task(case, 0, SETTINGS)
    finding = flops.observe(build(task), task)
    return {o.metric: o.samples[0] for o in finding.observations if isinstance(o, Observation)}, finding


def unknown_rows(case: Case) -> bool:
    """Whether the tokens decide how many rows are computed: a padded buffer without a capacity, or a ragged choice."""
    if case["layer"] == "remoe":
        return case["backend"] in ("grouped", "loop")
    if case["layer"] == "balanced_assignment" and case["assignment"] == "auction" and case["mode"] != "forward":
        return False
    return (case.get("capacity_factor") is None) == (case["backend"] in ("einsum", "indexed"))


@pytest.mark.parametrize("mode", ["forward", "forward_backward"])
@pytest.mark.parametrize(("layer", "axes"), variants(), ids=lambda v: v if isinstance(v, str) else str(v))
def test_the_counters_agree(layer: str, axes: dict[str, object], mode: str) -> None:
    shape = {"batch_size": 2} if layer == "vit" else SHAPE
    case = plan.single(layer, {**shape, **axes, "mode": mode})
    counted, finding = observe(case)
    cost = layers.cost(case)
    assert cost is not None
    if cost.executed_flops is not None:
        assert counted["flops_torch"] == cost.executed_flops
    else:
        assert unknown_rows(case)
    assert finding.flags == ()
    if mode == "forward":
        assert counted["flops_fvcore"] == counted["flops_torch"]
    else:
        assert "flops_fvcore" not in counted


SLOTS_ARE_TOKENS = ("identity", "uniform", "soft_uniform", "uniform_soft")
"""Layers whose slots are as many as the tokens of a sequence."""


@pytest.mark.parametrize(
    ("layer", "axes"),
    [(layer, axes) for layer, axes in variants() if axes.get("backend") != "compile"],  # seconds for each shape
    ids=lambda v: v if isinstance(v, str) else str(v),
)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 3),
    quarter=st.integers(1, 12),
    width=st.integers(1, 4),
    hidden=st.integers(1, 4),
    mode=st.sampled_from(["forward", "forward_backward", "train_step"]),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)
def test_the_counters_agree_or_name_their_difference(
    layer: str, axes: dict[str, object], batch: int, quarter: int, width: int, hidden: int, mode: str, dtype: str
) -> None:
    """Over random shapes: within 0.1 %, or a caveat that says in which operators the difference lies."""
    shape: dict[str, object] = {"batch_size": batch, "dtype": dtype, "mode": mode}
    if layer != "vit":
        shape |= {"seq_len": 4 * quarter, "d_model": 8 * width, "d_ff": 24 * hidden}
    if layer in SLOTS_ARE_TOKENS:
        shape |= {"slots_per_expert": quarter}
    try:
        case = plan.single(layer, {**axes, **shape})
    except InputError:
        assume(condition=False)
    task = plan.task(case, 0, SETTINGS)
    finding = flops.observe(build(task), task)
    outcome = Outcome(case.id, 0, Status.OK, observations=finding.observations, facts=finding.facts)
    cost = layers.cost(case)
    assert cost is not None
    torch_count, fvcore_count = (count_of(outcome, counter) for counter in COUNTERS)
    assert fvcore_count.total is not None or fvcore_count.missing
    found = reconcile(cost.executed_flops, torch_count, fvcore_count, tolerance=DISAGREEMENT)
    assert (torch_count.total is None) == bool(torch_count.uncounted)
    assert cost.executed_flops is None or found.compared
    assert found.differences == (), found.words


@pytest.mark.parametrize("mode", ["forward", "forward_backward"])
@pytest.mark.parametrize("name", parameters(n for n, layer in layers.TABLE.items() if layer.package and layer.cost))
def test_other_packages_compute_the_products_of_the_formula(name: str, mode: str) -> None:
    for backend in layers.TABLE[name].backends or (None,):
        axes = {**SHAPE, **examples.AXES[name], "mode": mode}
        case = plan.single(name, axes if backend is None else axes | {"backend": backend})
        counted, _ = observe(case)
        cost = layers.cost(case)
        assert cost is not None
        assert counted["flops_torch"] == cost.executed_flops
        subject = build(plan.task(case, 0, SETTINGS))
        assert sum(p.numel() for p in subject.layer.parameters()) == cost.parameters
        assert cost.parameter_bytes == 4 * cost.parameters


def test_grouped_and_loop_compute_the_same_rows_where_tokens_are_dropped() -> None:
    counts = [
        observe(plan.single("token_choice", {**SHAPE, "num_experts": 4, "capacity_factor": 0.5, "backend": b}))[0]
        for b in ("grouped", "loop")
    ]
    assert counts[0]["flops_torch"] == counts[1]["flops_torch"]


class Unknown(torch.nn.Module):
    """A product that fvcore does not know."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cdist(x, x) @ x


class Handing(torch.nn.Module):
    """Hands a parameter to a submodule."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(16, 16))
        self.same = torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.same(self.weight)


def test_a_parameter_that_a_submodule_is_given_is_no_obstacle() -> None:
    task = plan.task(soft(), 0, SETTINGS)
    subject = build(task)
    layer = Handing()
    finding = flops.observe(type(subject)(**{**vars(subject), "layer": layer}), task)
    assert {o.metric: o.samples[0] for o in finding.observations}["flops_torch"] == 2 * 32 * 16 * 16
    assert layer.weight.requires_grad


def test_what_a_counter_missed_is_named_and_its_figure_left_out() -> None:
    task = plan.task(soft(), 0, SETTINGS)
    subject = build(task)
    finding = flops.observe(type(subject)(**{**vars(subject), "layer": Unknown()}), task)
    said = "torch cannot count aten._euclidean_dist; fvcore cannot count aten::cdist"
    assert [(f.code, f.detail) for f in finding.flags] == [("counter_incomplete", said)]
    assert finding.observations == ()
