"""Cases and their ids, outcomes, environments: what a store keeps must not change its meaning."""

import dataclasses
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import plan
from bench.records import (
    FAILED,
    INSPECTION,
    SCHEMA,
    SCHEMA_VERSION,
    Case,
    Environment,
    Observation,
    Outcome,
    Settings,
    Status,
)

# SHA-256 of canonical JSON that was written by hand; a change here orphans every stored run
GOLDEN = [
    ("dense", {}, "baf2f4dbced8b775"),
    ("soft", {"num_experts": 8, "slots_per_expert": 24}, "903ef152801f087c"),
    ("token_choice", {"num_experts": 8, "capacity_factor": "none"}, "a30335d60cfb21c8"),
    (
        "expert_choice",
        {"num_experts": 16, "device": "cuda", "dtype": "bfloat16", "batch_size": 8, "capacity_factor": 1.25},
        "b6822c92e126a231",
    ),
]


@pytest.mark.parametrize(("layer", "axes", "golden"), GOLDEN, ids=[layer for layer, *_ in GOLDEN])
def test_ids_are_the_same_for_ever(layer: str, axes: dict[str, Any], golden: str) -> None:
    assert plan.single(layer, {"device": "cpu"} | axes, devices=("cpu", "cuda")).id == golden


def test_an_axis_that_came_later_is_part_of_a_case_only_away_from_its_default() -> None:
    axes = {"num_experts": 8, "slots_per_expert": 24}
    assert plan.single("soft", axes | {"memory": "normal"}) == plan.single("soft", axes)
    low = plan.single("soft", axes | {"memory": "low"})
    assert low["memory"] == "low"
    assert low.id != plan.single("soft", axes).id


def test_an_id_is_a_hash_of_sorted_compact_json() -> None:
    assert Case({}).id == "44136fa355b3678a"  # sha256 of {}
    assert Case({"b": True, "a": None}).id == "777fd7cd7406c929"  # of {"a":null,"b":true}


@pytest.mark.parametrize("value", [1, 1.0, "1", "1.0"])
def test_the_same_value_however_written_makes_the_same_case(value: object) -> None:
    base = plan.single("token_choice", {"num_experts": 8})
    assert plan.single("token_choice", {"num_experts": 8, "capacity_factor": value, "batch_size": value}) == base


def test_axes_at_their_default_are_part_of_the_id_and_may_be_left_out_of_the_question() -> None:
    asked = plan.single("dense", {})
    spelt = plan.single("dense", {"seq_len": 196, "threads": "none", "dtype": "float32", "device": "auto"})
    assert asked.id == spelt.id == "baf2f4dbced8b775"
    assert "seq_len" in asked
    assert Case({name: value for name, value in asked.items() if name != "seq_len"}).id != asked.id


@given(st.permutations(list(plan.single("dense", {}).items())))
def test_the_order_of_axes_is_irrelevant(items: list[tuple[str, Any]]) -> None:
    case = Case(dict(items))
    assert case.id == "baf2f4dbced8b775"
    assert list(case) == sorted(case)


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        ("batch_size", 2),
        ("d_ff", 1535),
        ("dtype", "bfloat16"),
        ("threads", 1),
        ("seed", 1),
        ("mode", "forward_backward"),
    ],
)
def test_another_value_of_any_axis_is_another_case(axis: str, value: Any) -> None:  # noqa: ANN401
    case = plan.single("dense", {})
    other = case.with_axes(**{axis: value})
    assert other.id != case.id
    assert other != case
    assert dict(other) == dict(case) | {axis: value}


def test_types_are_told_apart_in_an_id() -> None:
    assert len({Case({"a": value}).id for value in (1, 1.0, True, "1", None)}) == 5


def test_a_case_is_a_mapping_that_can_be_kept_in_sets_and_sent_to_a_worker() -> None:
    case = Case({"b": 1, "a": 2})
    assert (dict(case), len(case), case["a"], case.get("c")) == ({"a": 2, "b": 1}, 2, 2, None)
    assert len({case, Case({"a": 2, "b": 1})}) == 1
    assert pickle.loads(pickle.dumps(case)) == case  # noqa: S301


def test_a_case_does_not_change() -> None:
    axes = {"a": 1}
    case = Case(axes)
    axes["a"] = 2
    assert case["a"] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        case.id = "0"  # type: ignore[misc]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_case_has_a_value_that_json_does_not_know(value: float) -> None:
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        Case({"capacity_factor": value})


def test_samples_of_a_metric_that_was_not_observed_are_none() -> None:
    outcome = Outcome("0", 1, Status.OK, observations=(Observation("latency", "s", (1.0, 2.0)),))
    assert outcome.samples("latency") == (1.0, 2.0)
    assert outcome.samples("peak_memory") == ()


def test_a_fingerprint_is_over_the_comparable_facts_in_any_order() -> None:
    here = Environment({"threads": 4, "cpu": "A"}, {"load": 0.1})
    assert here.fingerprint == "435ebea03794"  # sha256 of {"cpu": "A", "threads": 4}
    assert Environment({"cpu": "A", "threads": 4}, {"load": 9.9}).fingerprint == here.fingerprint
    assert Environment({"cpu": "A", "threads": 5}).fingerprint != here.fingerprint
    assert Environment().fingerprint == "44136fa355b3"


def test_stored_words() -> None:
    assert [status.value for status in Status] == [
        "ok",
        "out_of_memory",
        "timeout",
        "unsupported",
        "error",
        "crashed",
        "skipped",
    ]
    assert set(Status) - set(FAILED) == {Status.OK, Status.UNSUPPORTED, Status.SKIPPED}
    assert SCHEMA_VERSION == 3
    assert list(SCHEMA) == [*range(1, SCHEMA_VERSION + 1)]
    assert INSPECTION == 0


def test_what_a_measurement_is_told_unless_asked_otherwise() -> None:
    assert Settings() == Settings(repeats=5, max_seconds=1.0, timeout=300.0, half_width=0.01, min_samples=10, seed=0)
