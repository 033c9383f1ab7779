from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import softmoe_ref
from softmoe_ref import routing


def test_capacity_equals_the_authors_table(golden: Callable[..., Any]) -> None:
    table = golden("capacity_table")
    seen = Counter()
    columns = ("num_tokens", "num_experts", "capacity_factor", "ceil_or_round", "multiple_of", "capacity")
    for tokens, experts, factor, rounding, multiple, expected in zip(
        *(table.arrays[column].tolist() for column in columns), strict=True
    ):
        ours = {("round", 1): "round", ("ceil", 4): "ceil4"}.get((rounding, multiple))
        if ours is not None:
            seen[ours] += 1
            assert routing.capacity(tokens, experts, factor, rounding=ours) == expected
    assert seen == {"round": 179, "ceil4": 210}


def test_capacity_counts_every_choice_and_rounds_halves_to_even() -> None:
    assert routing.capacity(20, 8, 1.0) == 2  # 2.5
    assert routing.capacity(28, 8, 1.0) == 4  # 3.5
    assert routing.capacity(20, 8, 1.0, top_k=2) == 5
    assert routing.capacity(20, 8, 1.0, rounding="ceil4") == 4
    assert routing.capacity(33, 8, 1.0, rounding="ceil4") == 8


def test_capacity_refuses_to_leave_no_place() -> None:
    message = (
        r"^capacity_factor must leave at least one place per expert, got 0.5: "
        r"8 tokens \* 1 choices \* 0.5 / 8 experts rounds to 0$"
    )
    with pytest.raises(ValueError, match=message):
        routing.capacity(8, 8, 0.5)


def test_capacity_refuses_an_unknown_rounding() -> None:
    with pytest.raises(ValueError, match=r"^capacity_rounding must be one of round, ceil, ceil4, got 'floor'$"):
        routing.capacity(8, 8, 1.0, rounding="floor")


def test_groups_default_to_sequences_and_must_come_out_even() -> None:
    assert routing.grouping((3, 8), None) == (3, 8)
    assert routing.grouping((3, 8), 4) == (6, 4)
    assert routing.grouping((3, 8), 24) == (1, 24)
    with pytest.raises(ValueError, match=r"^group_size must divide the 3 \* 8 = 24 tokens, got 5$"):
        routing.grouping((3, 8), 5)


def test_unit_vectors_have_length_one_and_zero_stays_zero() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[0.6, 0.8], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(routing.unit(x, dim=-1), expected, rtol=0, atol=1e-7)
    tiny = torch.tensor([[1e-3, 0.0]], dtype=torch.float64)  # epsilon inside the root: 1e-3 / sqrt(2e-6)
    assert routing.unit(tiny, dim=-1)[0, 0].item() == pytest.approx(0.5**0.5, rel=1e-12)


def test_facts_of_a_decision_made_by_hand() -> None:
    # two groups of two tokens, two experts, one choice, one place: the second token of group 0 comes too late
    facts = softmoe_ref.Assignments(
        shape=(1, 4),
        token=torch.arange(4).view(2, 2, 1),
        expert=torch.tensor([[[0], [0]], [[0], [1]]]),
        place=torch.tensor([[[0], [1]], [[0], [0]]]),
        gate=torch.full((2, 2, 1), 0.75),
        kept=torch.tensor([[[True], [False]], [[True], [True]]]),
        gates=torch.tensor([[[0.75, 0.25], [0.75, 0.25]], [[0.75, 0.25], [0.25, 0.75]]]),
        capacity=1,
    )
    assert facts.assigned().tolist() == [[True, False], [False, False], [True, False], [False, True]]
    assert facts.load().tolist() == [2, 1]
    assert facts.importance().tolist() == [2.5, 1.5]
    assert facts.drop_rate() == 0.25
    assert facts.unrouted_rate() == 0.25
    assert facts.may_drop
    assert facts.group.flatten().tolist() == [0, 0, 1, 1]


@torch.no_grad()
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 9),
    experts=st.integers(1, 6),
    choices=st.integers(1, 6),
    factor=st.one_of(st.none(), st.floats(0.3, 3)),
    priority=st.booleans(),
    levels=st.integers(1, 50),
    seed=st.integers(0, 2**31),
)
def test_tokens_choice_serves_a_queue(
    batch: int, length: int, experts: int, choices: int, factor: float | None, priority: bool, levels: int, seed: int
) -> None:
    top_k = min(choices, experts)
    if factor is not None and round(length * top_k * factor / experts) < 1:
        return
    layer = softmoe_ref.build(
        "token_choice",
        d_model=4,
        d_ff=2,
        num_experts=experts,
        top_k=top_k,
        capacity_factor=factor,
        batch_priority=priority,
        dtype=torch.float64,
    )
    generator = torch.Generator().manual_seed(seed)
    # few levels make equal tokens, so that gates tie
    x = torch.randint(-levels, levels + 1, (batch, length, 4), generator=generator).double() / levels
    facts = layer.route(x).assignments
    gates = facts.gates
    for g in range(batch):
        queue = [(k, n) for k in range(top_k) for n in range(length)]
        if priority:
            queue.sort(key=lambda kn, g=g: (kn[0], -float(gates[g, kn[1]].max())))
        served = Counter()
        for k, n in queue:
            e = int(facts.expert[g, n, k])
            assert float(facts.gate[g, n, k]) == float(gates[g, n, e])
            assert int(facts.place[g, n, k]) == served[e]
            assert bool(facts.kept[g, n, k]) == (facts.capacity is None or served[e] < facts.capacity)
            served[e] += 1
        for n in range(length):
            chosen = facts.expert[g, n].tolist()
            assert len(set(chosen)) == top_k
            others = [float(gates[g, n, e]) for e in range(experts) if e not in chosen]
            assert min(float(v) for v in facts.gate[g, n]) >= max(others, default=0.0)
    assert torch.equal(facts.assigned().sum(0), facts.load().long())
    if facts.capacity is not None:
        assert int(facts.load().max()) <= facts.capacity * batch


@torch.no_grad()
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 9),
    experts=st.integers(1, 6),
    factor=st.floats(0.2, 6),
    seed=st.integers(0, 2**31),
)
def test_experts_choice_takes_the_keenest_tokens(
    batch: int, length: int, experts: int, factor: float | None, seed: int
) -> None:
    places = round(length * factor / experts)
    if not 1 <= places <= length:
        return
    layer = softmoe_ref.build(
        "expert_choice", d_model=4, d_ff=2, num_experts=experts, capacity_factor=factor, dtype=torch.float64
    )
    x = torch.randn(batch, length, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    decision = layer.route(x)
    facts = decision.assignments
    for g in range(batch):
        for e in range(experts):
            order = sorted(range(length), key=lambda n, g=g, e=e: -float(facts.gates[g, n, e]))
            assert (facts.token[g, e] - g * length).tolist() == order[:places]
    assert decision.load().tolist() == [batch * places] * experts
    assert decision.drop_rate() == 0.0
    assert decision.unrouted_rate() == (decision.assigned().sum(1) == 0).double().mean().item()


@pytest.mark.parametrize(("dtype", "expected"), [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)])
def test_logits_and_softmaxes_are_at_least_float32(dtype: torch.dtype, expected: torch.dtype) -> None:
    x = torch.randn(2, 8, 4).to(dtype)
    sizes = {"d_model": 4, "d_ff": 2, "num_experts": 2, "dtype": dtype}
    for backend in ("einsum", "fused"):
        decision: Any = softmoe_ref.build("soft", **sizes, slots_per_expert=2, backend=backend).route(x)
        assert (decision.dispatch_weights.dtype, decision.combine_weights.dtype) == (expected, expected)
    for name in ("token_choice", "expert_choice"):
        decision = softmoe_ref.build(name, **sizes).route(x)
        assert (decision.assignments.gates.dtype, decision.assignments.gate.dtype) == (expected, expected)
