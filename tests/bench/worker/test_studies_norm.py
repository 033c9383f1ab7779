"""The families of inputs that a Soft MoE with few slots cannot tell apart."""

import math

import pytest
from recorded import SETTINGS

from bench import plan
from bench.claims.claim import study
from bench.records import Status
from bench.worker import main
from bench.worker.studies import norm


def figures(num_experts: int, slots_per_expert: int, d_model: int, **axes: object) -> dict[str, list[float]]:
    sizes = {"num_experts": num_experts, "slots_per_expert": slots_per_expert, "d_model": d_model, "d_ff": 16}
    case = study("norm", "soft", **{"backend": "einsum", "normalize": "none", "seq_len": 4, **sizes, **axes})
    outcome = main.attempt(plan.task(case, 0, SETTINGS))
    assert outcome["status"] is Status.OK, outcome["detail"]
    return {o["metric"]: o["samples"] for o in outcome["observations"]}


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2)])
@pytest.mark.parametrize("seed", [0, 1])
def test_fewer_slots_than_coordinates_give_the_same_output_bit_for_bit(shape: tuple[int, int], seed: int) -> None:
    found = figures(*shape, 6, seed=seed)
    assert found["collision_norm"] == pytest.approx([math.sqrt(2) * a for a in norm.COLLIDING])
    assert found["collision_norm"][-1] > 1e6
    assert found["collision_gap"] == [0.0] * len(norm.COLLIDING)


@pytest.mark.parametrize("shape", [(1, 6), (6, 1), (2, 3)])
def test_as_many_slots_as_coordinates_tell_the_same_inputs_apart(shape: tuple[int, int]) -> None:
    gaps = figures(*shape, 6)["collision_gap"]
    assert gaps[0] == 0
    assert gaps[1:] == sorted(gaps[1:])
    assert gaps[-1] > 1e5


@pytest.mark.parametrize("d_model", [1, 6])
def test_the_only_slot_keeps_what_the_bound_says(d_model: int) -> None:
    found = figures(1, 1, d_model)
    sizes = norm.ALONG
    assert found["family_norm"] == pytest.approx(list(sizes))
    assert found["family_slot"] == pytest.approx([a * math.exp(-a) / (3 + math.exp(-a)) for a in sizes], rel=1e-9)
    assert found["family_bound"] == pytest.approx([a * math.exp(-a) / 3 for a in sizes])
    assert 0 < found["family_gap"][2] < 2e-8
    assert all(gap <= slot for gap, slot in zip(found["family_gap"], found["family_slot"], strict=True))


@pytest.mark.parametrize("shape", [(1, 2), (2, 1)])
def test_two_slots_tell_that_family_apart(shape: tuple[int, int]) -> None:
    gaps = figures(*shape, 1)["family_gap"]
    expected = [a / (1 + 3 * math.exp(-a)) / (1 + math.exp(-2 * a)) for a in norm.ALONG]
    assert gaps == pytest.approx(expected, rel=1e-6)  # one expert's other slot adds a little
    assert [round(gap, 4) for gap in gaps[1:]] == [4.9007, 20.0, 100.0]


def test_normalised_tokens_lose_the_norm_whatever_the_slots() -> None:
    found = figures(2, 1, 1, normalize="tokens")
    assert max(found["family_gap"]) < 1
    assert found["family_gap"][2:] == pytest.approx([found["family_gap"][1]] * 2, rel=1e-4)


def test_more_than_two_slots_have_no_direction_set_by_hand() -> None:
    assert set(figures(5, 1, 6)) == {"collision_norm", "collision_gap"}
