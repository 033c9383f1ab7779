"""From grid, overrides and devices to cases in order, skips with reasons, and rounds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import grid, plan
from bench.axes import AXES
from bench.errors import InputError
from bench.layers import TABLE, Layer, outside
from bench.plan import Plan, make, single, task
from bench.records import Case, Settings


def takers(axis: str) -> str:
    return ", ".join(layer.name for layer in TABLE.values() if axis in layer.takes)


DENSE = {"layer": "dense"}
SOFT = {"layer": "soft", "num_experts": 8, "slots_per_expert": 4}
TOKENS = {"layer": "token_choice", "num_experts": 8}
BOTH = ("cpu", "cuda")
EVERY = ", ".join(TABLE)


def planned(
    *sweeps: dict[str, Any],
    sets: tuple[str, ...] = (),
    defaults: dict[str, Any] | None = None,
    devices: tuple[str, ...] = ("cpu",),
    extra: tuple[tuple[str, Layer], ...] = (),
) -> Plan:
    read = grid.parse({"sweep": list(sweeps), "defaults": defaults or {}}, source="g.toml")
    return make(read, overrides=grid.parse_settings(sets), extra_layers=extra, devices=devices)


def complaint(*sweeps: dict[str, Any], **asked: Any) -> str:  # noqa: ANN401
    with pytest.raises(InputError) as error:
        planned(*sweeps, **asked)
    assert "\n" not in str(error.value)
    return str(error.value)


def column(found: Plan, *names: str) -> list[Any]:
    rows = [tuple(p.case.get(name) for name in names) for p in found.cases]
    return [row[0] for row in rows] if len(names) == 1 else rows


# cases in order


def test_sweeps_add_up_in_order_and_each_layer_has_its_own_axes() -> None:
    found = planned({"layer": ["dense", "token_choice"], "batch_size": [1, 2]}, SOFT, sets=("num_experts=4",))
    assert column(found, "layer", "batch_size", "num_experts") == [
        ("dense", 1, None),
        ("dense", 2, None),
        ("token_choice", 1, 4),
        ("token_choice", 2, 4),
        ("soft", 1, 4),
    ]
    assert "top_k" not in found.cases[0].case
    assert found.cases[2].case["top_k"] == 2
    assert found.remarks == ()
    assert [layer.name for layer in found.layers] == ["dense", "token_choice", "soft"]


def test_the_same_case_is_planned_once_at_its_first_place() -> None:
    found = planned(
        {"layer": "dense", "batch_size": [1, 2, 1]}, {"layer": ["dense", "dense"], "batch_size": ["2", 3.0, 1]}
    )
    assert column(found, "batch_size") == [1, 2, 3]


def test_a_value_is_the_override_else_the_sweeps_else_the_grids_default_else_the_axis() -> None:
    sweep = {"layer": "dense", "d_model": 2, "d_ff": 2}
    found = planned(sweep, defaults={"d_model": 3, "d_ff": 3, "seq_len": 3, "top_k": 3}, sets=("d_model=1",))
    assert column(found, "d_model", "d_ff", "seq_len", "batch_size") == [(1, 2, 3, 1)]


def test_a_default_may_be_derived_and_is_computed_per_point() -> None:
    found = planned(
        {"layer": "soft", "num_experts": [2, 4]}, defaults={"slots_per_expert": "seq_len // num_experts", "seq_len": 12}
    )
    assert column(found, "num_experts", "slots_per_expert") == [(2, 6), (4, 3)]


def test_the_default_backend_is_the_first_of_the_layer() -> None:
    assert column(planned(SOFT, TOKENS, {"layer": "expert_choice", "num_experts": 8}, DENSE), "backend") == [
        "fused",
        "grouped",
        "indexed",
        None,
    ]


# overrides


def test_an_override_with_several_values_is_an_axis() -> None:
    found = planned({**SOFT, "batch_size": [1, 2]}, sets=("num_experts=4,16",))
    assert column(found, "num_experts", "batch_size") == [(4, 1), (4, 2), (16, 1), (16, 2)]
    assert all(type(p.case["num_experts"]) is int for p in found.cases)


def test_an_override_gives_a_required_axis() -> None:
    assert column(
        planned({"layer": "soft", "num_experts": 8}, sets=("slots_per_expert=seq_len // 14",)), "slots_per_expert"
    ) == [14]


def test_an_override_applies_to_the_layers_that_take_it() -> None:
    found = planned(DENSE, TOKENS, sets=("top_k=1",))
    assert column(found, "layer", "top_k") == [("dense", None), ("token_choice", 1)]


ZIPPED = {**TOKENS, "num_experts": [8, 16], "top_k": [1, 2], "zip": [["num_experts", "top_k"]]}


def test_an_override_of_a_zipped_axis_walks_in_its_place() -> None:
    assert column(planned(ZIPPED, sets=("num_experts=4,32",)), "num_experts", "top_k") == [(4, 1), (32, 2)]
    assert column(planned(ZIPPED, sets=("num_experts=4",)), "num_experts", "top_k") == [(4, 1), (4, 2)]
    assert complaint(ZIPPED, sets=("num_experts=2,4,8",)) == (
        "g.toml: sweep 1: zip needs lists of one length, but num_experts has 3, top_k has 2"
    )


def test_only_the_asked_layers_are_left() -> None:
    found = planned(DENSE, SOFT, TOKENS, sets=("layer=dense,soft",))
    assert column(found, "layer") == ["dense", "soft"]
    assert found.remarks == ()


def test_a_backend_leaves_out_the_layers_without_it_and_says_so() -> None:
    found = planned(DENSE, SOFT, TOKENS, sets=("backend=einsum,loop",))
    assert column(found, "layer", "backend") == [
        ("soft", "einsum"),
        ("token_choice", "einsum"),
        ("token_choice", "loop"),
    ]
    assert found.remarks == ("layer dense has no backend einsum, loop and is left out",)


def test_a_remark_is_made_once() -> None:
    found = planned(DENSE, {**DENSE, "batch_size": 2}, SOFT, sets=("backend=fused",))
    assert found.remarks == ("layer dense has no backend fused and is left out",)


def test_auto_is_decided_before_the_id_is_made() -> None:
    for devices, device in ((BOTH, "cuda"), (("cpu",), "cpu")):
        found = planned(DENSE, devices=devices)
        assert column(found, "device") == [device]
        assert found.cases == planned(DENSE, sets=(f"device={device}",), devices=devices).cases
    assert column(planned(DENSE, sets=("device=auto,cpu,cuda",), devices=BOTH), "device") == ["cuda", "cpu"]


def test_the_same_skew_however_written_is_the_same_case() -> None:
    found = planned(TOKENS, sets=("input=skewed,skewed:1,skewed:1.0,skewed:1.5,gaussian",))
    assert column(found, "input") == ["skewed:1", "skewed:1.5", "gaussian"]


TAKES_SOFT = (
    "layer, backend, num_experts, slots_per_expert, memory, active_experts, subset_choice, renormalize_active, "
    "normalize, activation, batch_size, seq_len, d_model, d_ff, dtype, device, mode, optimizer, launch, cache, input, "
    "threads, seed"
)


@pytest.mark.parametrize(
    ("sweep", "text"),
    [
        (
            {**SOFT, "top_k": 2},
            f"g.toml: sweep 2: layer soft does not take the axis top_k (it takes: {TAKES_SOFT})",
        ),
        (
            {**SOFT, "layer": ["token_choice", "soft"], "top_k": 2, "slots_per_expert": 2},
            (
                "g.toml: sweep 2: layer token_choice does not take the axis slots_per_expert (it takes: "
                "layer, backend, num_experts, top_k, capacity_factor, group_size, batch_priority, renormalize, "
                "capacity_rounding, activation, batch_size, seq_len, d_model, d_ff, dtype, device, mode, optimizer, "
                "launch, cache, input, threads, seed)"
            ),
        ),
        (
            {"layer": "dense", "backend": "einsum"},
            (
                "g.toml: sweep 2: layer dense does not take the axis backend (it takes: layer, activation, batch_size, "
                "seq_len, d_model, d_ff, dtype, device, mode, optimizer, launch, cache, input, threads, seed)"
            ),
        ),
        (
            {"layer": "sotf"},
            (
                f"g.toml: sweep 2: unknown layer 'sotf'; did you mean soft? (allowed: {EVERY}); "
                "a layer of your own is written package.module:factory"
            ),
        ),
        (
            {"layer": "my moe:Layer"},
            "g.toml: sweep 2: layer 'my moe:Layer' is no import target: write package.module:factory",
        ),
        (
            {"layer": "soft", "num_experts": 8},
            "g.toml: sweep 2: layer soft needs slots_per_expert = a whole number >= 1",
        ),
        (
            {**SOFT, "backend": ["fused", "indexd"]},
            "g.toml: sweep 2: layer soft: unknown backend 'indexd' (allowed: fused, einsum, sdpa, compile)",
        ),
        (
            {**TOKENS, "backend": "indexd"},
            (
                "g.toml: sweep 2: layer token_choice: unknown backend 'indexd'; did you mean indexed? "
                "(allowed: grouped, indexed, loop, einsum)"
            ),
        ),
        (
            {**SOFT, "input": "phto"},
            "g.toml: sweep 2: input 'phto' is unknown; allowed are gaussian, photo, skewed or skewed:EXPONENT",
        ),
        (
            {**SOFT, "input": "skewed:-1"},
            (
                "g.toml: sweep 2: input 'skewed:-1': the exponent must be a number of at least 0, such as skewed:1.5; "
                "allowed are gaussian, photo, skewed or skewed:EXPONENT"
            ),
        ),
        (
            {**SOFT, "exclude": [{"top_k": 2}]},
            "g.toml: sweep 2: exclude: the axis top_k is taken by no layer of this sweep (soft)",
        ),
    ],
)
def test_a_sweep_that_asks_what_its_layer_does_not_take(sweep: dict[str, Any], text: str) -> None:
    assert complaint(DENSE, sweep) == text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ("top_k=1",),
            f"--set top_k: no layer of grid g takes it here (layers that do: {takers('top_k')})",
        ),
        (
            ("num_experts=4", "layer=dense"),
            f"--set num_experts: no layer of grid g takes it here (layers that do: {takers('num_experts')})",
        ),
        (("layer=token_choice",), "--set layer=token_choice: grid g has only dense, soft"),
        (("layer=soft,expert_choice",), "--set layer=expert_choice: grid g has only dense, soft"),
        (
            ("layer=sotf",),
            (
                f"--set layer=sotf: unknown layer 'sotf'; did you mean soft? (allowed: {EVERY}); "
                "a layer of your own is written package.module:factory"
            ),
        ),
        (
            ("backend=fusde",),
            "--set backend=fusde: unknown backend 'fusde'; did you mean fused? (allowed: fused, einsum, sdpa, compile)",
        ),
        (("backend=fused,loop",), "--set backend=loop: unknown backend 'loop' (allowed: fused, einsum, sdpa, compile)"),
        (
            ("layer=dense", "backend=fused"),
            f"--set backend: no layer of grid g takes it here (layers that do: {takers('backend')})",
        ),
    ],
)
def test_overrides_that_would_change_nothing(words: tuple[str, ...], text: str) -> None:
    assert complaint(DENSE, SOFT, sets=words) == text


def test_no_case_left() -> None:
    sweep = {**SOFT, "exclude": [{"num_experts": 8}]}
    assert complaint(sweep) == "grid g has no case left: its sweeps and overrides exclude every point"
    assert complaint({**sweep, "layer": "soft"}, DENSE, sets=("backend=einsum",)) == (
        "grid g has no case left: layer dense has no backend einsum and is left out"
    )


# a layer in parts: each value of `moe` brings its own axes, each variant its own sizes


VIT = {"layer": "vit", "variant": "tiny"}


def test_each_part_takes_the_axes_of_its_layer() -> None:
    found = planned({**VIT, "moe": ["dense", "soft", "token_choice"], "num_experts": [4, 8], "slots_per_expert": 2})
    assert column(found, "moe", "backend", "num_experts", "slots_per_expert", "top_k") == [
        ("dense", None, None, None, None),
        ("soft", "fused", 4, 2, None),
        ("soft", "fused", 8, 2, None),
        ("token_choice", "grouped", 4, None, 2),
        ("token_choice", "grouped", 8, None, 2),
    ]


def test_sizes_follow_from_the_variant_and_others_may_follow_from_them() -> None:
    sweep = {"layer": "vit", "variant": ["tiny", "H/14"], "moe": "soft", "num_experts": 4, "batch_size": [1, 2]}
    found = planned({**sweep, "slots_per_expert": "seq_len // num_experts"}, defaults={"d_model": 7, "seq_len": 8})
    assert column(found, "variant", "batch_size", "seq_len", "d_model", "d_ff", "slots_per_expert") == [
        ("tiny", 1, 64, 192, 768, 16),
        ("tiny", 2, 64, 192, 768, 16),
        ("H/14", 1, 256, 1280, 5120, 64),
        ("H/14", 2, 256, 1280, 5120, 64),
    ]


def test_an_override_chooses_among_the_parts() -> None:
    sweep = {**VIT, "moe": ["dense", "soft"], "num_experts": 4, "slots_per_expert": 2}
    assert column(planned(sweep, sets=("moe=dense",)), "moe", "num_experts") == [("dense", None)]
    assert column(planned(sweep, sets=("variant=S/16", "moe=soft")), "moe", "d_model") == [("soft", 384)]
    found = planned(DENSE, sweep, sets=("d_model=64",))
    assert column(found, "layer", "d_model") == [("dense", 64), ("vit", 192), ("vit", 192)]
    found = planned(sweep, sets=("backend=einsum",))
    assert column(found, "moe", "backend") == [("soft", "einsum")]
    assert found.remarks == ("layer vit with variant=tiny moe=dense has no backend einsum and is left out",)


def test_a_rule_may_name_what_chooses_and_what_follows() -> None:
    sweep = {**VIT, "moe": ["dense", "soft"], "num_experts": [4, 8], "slots_per_expert": 2}
    found = planned({**sweep, "exclude": [{"moe": "soft", "num_experts": 4, "seq_len": 64}, {"moe": "dense"}]})
    assert column(found, "moe", "num_experts") == [("soft", 8)]


def test_a_part_has_the_skips_of_its_layer_and_those_of_images() -> None:
    found = planned(
        {**VIT, "moe": "token_choice", "num_experts": [1, 4], "input": ["photo", "skewed:1"], "exclude": []},
    )
    assert [p.skip for p in found.cases] == [
        "top_k=2 is more than num_experts=1",
        "input skewed:1 is made for the router of one layer; a model takes photo or gaussian",
        None,
        "input skewed:1 is made for the router of one layer; a model takes photo or gaussian",
    ]


@pytest.mark.parametrize(
    ("sweep", "text"),
    [
        (
            {**VIT, "moe": "dense", "seq_len": 64},
            "g.toml: sweep 1: layer vit does not take the axis seq_len: variant and moe decide it",
        ),
        (
            {**VIT, "moe": "dense", "num_experts": 8},
            (
                "g.toml: sweep 1: layer vit with variant=tiny moe=dense does not take the axis num_experts (it takes: "
                "layer, variant, moe, batch_size, dtype, device, mode, optimizer, launch, cache, input, threads, seed)"
            ),
        ),
        (
            {**VIT, "moe": ["dense", "expert_choice"], "num_experts": 8, "top_k": 1},
            (
                "g.toml: sweep 1: layer vit does not take the axis top_k (it takes: layer, variant, moe, batch_size, "
                "dtype, device, mode, optimizer, launch, cache, input, threads, seed, backend, num_experts, "
                "capacity_factor, group_size, capacity_rounding)"
            ),
        ),
        (
            VIT,
            "g.toml: sweep 1: layer vit needs moe = dense | soft | token_choice | expert_choice",
        ),
        (
            {**VIT, "moe": "sotf"},
            (
                "g.toml: sweep 1: moe: unknown value 'sotf'; did you mean soft? (allowed: dense, soft, token_choice, "
                "expert_choice)"
            ),
        ),
        (
            {**VIT, "moe": "soft", "num_experts": 8},
            "g.toml: sweep 1: layer vit needs slots_per_expert = a whole number >= 1",
        ),
        (
            {**VIT, "moe": ["dense", "soft"], "batch_size": [1, 2], "zip": [["moe", "batch_size"]]},
            "g.toml: sweep 1: zip cannot walk moe: write one [[sweep]] for each value",
        ),
        (
            {**VIT, "moe": "soft", "num_experts": 8, "slots_per_expert": 2, "backend": "loop"},
            (
                "g.toml: sweep 1: layer vit with variant=tiny moe=soft: unknown backend 'loop' "
                "(allowed: fused, einsum, sdpa, compile)"
            ),
        ),
    ],
)
def test_what_a_layer_in_parts_does_not_take(sweep: dict[str, Any], text: str) -> None:
    assert complaint(sweep) == text


def test_an_override_of_what_follows_changes_nothing() -> None:
    text = f"--set d_model: no layer of grid g takes it here (layers that do: {takers('d_model')})"
    assert "vit" not in takers("d_model")
    assert complaint({**VIT, "moe": "dense"}, sets=("d_model=64",)) == text


# exclude across layers


def test_a_rule_holds_for_the_layers_that_have_its_axes() -> None:
    sweep = {
        "layer": ["token_choice", "expert_choice"],
        "num_experts": [4, 8],
        "exclude": [
            {"layer": "token_choice", "top_k": 2, "num_experts": 4},
            {"layer": "expert_choice", "num_experts": 8},
        ],
    }
    assert column(planned(sweep), "layer", "num_experts") == [("token_choice", 8), ("expert_choice", 4)]


def test_a_rule_sees_axes_that_the_sweep_leaves_at_their_default() -> None:
    sweep = {**DENSE, "batch_size": [1, 2], "exclude": [{"d_model": 384, "batch_size": 2}]}
    assert column(planned(sweep), "batch_size") == [1]


# skips


@pytest.mark.parametrize(
    ("sweep", "skips"),
    [
        (
            {**TOKENS, "num_experts": [1, 2]},
            ["top_k=2 is more than num_experts=1", None],
        ),
        (
            {**TOKENS, "group_size": [98, 100]},
            [None, "group_size=100 does not divide the 196 tokens of a call"],
        ),
        (
            {**TOKENS, "num_experts": [8, 1024]},
            [None, "capacity_factor=1.0 leaves no place for any token"],
        ),
        (
            {"layer": "expert_choice", "num_experts": 8, "capacity_factor": [1, 9, "none"]},
            [
                None,
                "an expert would take 220 tokens of a group of 196: change capacity_factor or num_experts",
                "experts choice needs a capacity_factor: it decides how many tokens an expert takes",
            ],
        ),
        ({**DENSE, "device": ["cpu", "cuda"]}, [None, "this machine has no device cuda"]),
    ],
)
def test_a_case_that_cannot_be_measured_stays_in_the_plan_with_its_reason(
    sweep: dict[str, Any], skips: list[str | None]
) -> None:
    found = planned(sweep)
    assert [p.skip for p in found.cases] == skips
    assert found.runnable == [p.case for p in found.cases if p.skip is None]


def test_threads_mean_nothing_on_a_gpu() -> None:
    found = planned({**DENSE, "threads": ["none", 2], "device": ["cpu", "cuda"]}, devices=BOTH)
    assert [(p.case["threads"], p.case["device"], p.skip) for p in found.cases] == [
        (None, "cpu", None),
        (None, "cuda", None),
        (2, "cpu", None),
        (2, "cuda", "threads counts CPU threads and means nothing on cuda"),
    ]


def test_a_plan_with_nothing_but_skips_is_refused_with_every_reason_once() -> None:
    assert complaint({**TOKENS, "num_experts": 1, "batch_size": [1, 2]}, {**DENSE, "device": "cuda"}) == (
        "grid g has no case that can be measured: this machine has no device cuda; top_k=2 is more than num_experts=1"
    )


# layers from outside


def test_a_layer_from_outside_is_measured_beside_the_one_that_it_is_like() -> None:
    mine = outside("my:Layer", like="soft")
    found = planned(DENSE, {**SOFT, "batch_size": [1, 2], "backend": ["fused", "einsum"]}, extra=(("soft", mine),))
    assert column(found, "layer", "batch_size", "backend") == [
        ("dense", 1, None),
        ("soft", 1, "fused"),
        ("soft", 1, "einsum"),
        ("soft", 2, "fused"),
        ("soft", 2, "einsum"),
        ("my:Layer", 1, None),
        ("my:Layer", 2, None),
    ]
    assert [layer.target for layer in found.layers][-1] == "my:Layer"


def test_a_rule_about_backends_does_not_hold_for_a_layer_without_any() -> None:
    sweep = {**SOFT, "backend": ["fused", "einsum"], "exclude": [{"backend": "einsum", "num_experts": 8}]}
    found = planned(sweep, extra=(("soft", outside("my:Layer", like="soft")),))
    assert column(found, "layer", "backend") == [("soft", "fused"), ("my:Layer", None)]


@pytest.mark.parametrize(("like", "sweep"), [("dense", DENSE), ("soft", SOFT), ("token_choice", TOKENS)])
def test_a_task_calls_a_layer_from_outside_with_the_axes_of_its_model(like: str, sweep: dict[str, Any]) -> None:
    mine = outside("my:Layer", like=like)
    found = planned(sweep, extra=((like, mine),), sets=("layer=my:Layer",))
    told = task(found.runnable[0], 1, Settings())
    assert told.keywords == tuple(name for name in mine.keywords if name in ("d_model", "d_ff") or not AXES[name].later)
    assert set(told.keywords) <= set(told.case)
    assert (told.target, told.oracle) == ("my:Layer", None)


def test_an_override_of_an_axis_that_only_a_layer_from_outside_takes_here() -> None:
    mine = outside("my:Layer", like="token_choice")
    found = planned(DENSE, TOKENS, extra=(("token_choice", mine),), sets=("layer=dense,my:Layer", "top_k=1"))
    assert column(found, "layer", "top_k") == [("dense", None), ("my:Layer", 1)]


def test_a_layer_from_outside_has_the_skips_of_its_model() -> None:
    mine = outside("my:Layer", like="token_choice")
    found = planned({**TOKENS, "num_experts": [1, 8]}, extra=(("token_choice", mine),), sets=("layer=my:Layer",))
    assert [p.skip for p in found.cases] == ["top_k=2 is more than num_experts=1", None]


def test_a_layer_from_outside_that_is_like_none_of_the_grid_is_refused() -> None:
    assert complaint(DENSE, TOKENS, extra=(("soft", outside("my:Layer", like="soft")),)) == (
        "--layer my:Layer: it is measured beside soft, but grid g has only dense, token_choice; "
        "write --layer LIKE=my:Layer with LIKE one of these"
    )


def test_a_grid_may_name_a_layer_from_outside() -> None:
    found = planned({**SOFT, "layer": "my:Layer"})
    assert column(found, "layer", "num_experts", "backend") == [("my:Layer", 8, None)]


# tasks and rounds


def test_a_task_says_what_a_worker_must_know() -> None:
    case = single("soft", {"num_experts": 8, "slots_per_expert": 24})
    told = task(case, 3, Settings(repeats=7))
    assert (told.case, told.repeat, told.settings) == (case, 3, Settings(repeats=7))
    assert told.target == "softmoe_ref.soft:soft"
    assert told.oracle == "softmoe_ref.oracle:forward"
    assert told.keywords == TABLE["soft"].keywords
    assert told.keywords[:5] == ("d_model", "d_ff", "backend", "num_experts", "slots_per_expert")


MANY = {**DENSE, "batch_size": [1, 2, 3, 4, 5, 6], "device": ["cpu", "cuda"]}


def batches(rounds: list[tuple[int, list[Case]]]) -> list[tuple[int, list[Any]]]:
    return [(repeat, [case["batch_size"] for case in cases]) for repeat, cases in rounds]


def test_rounds_are_the_inspection_in_order_and_then_shuffled_ones() -> None:
    found = planned(MANY)
    assert batches(list(found.rounds(2, seed=0))) == [
        (0, [1, 2, 3, 4, 5, 6]),
        (1, [3, 1, 2, 6, 4, 5]),
        (2, [4, 2, 6, 1, 5, 3]),
    ]


@given(repeats=st.integers(0, 6), seed=st.integers(0, 2**32))
def test_rounds_are_complete_and_the_same_for_the_same_seed(repeats: int, seed: int) -> None:
    found = planned(MANY)
    rounds = list(found.rounds(repeats, seed))
    assert [repeat for repeat, _ in rounds] == list(range(repeats + 1))
    assert all(sorted(case.id for case in cases) == sorted(case.id for case in found.runnable) for _, cases in rounds)
    assert rounds == list(found.rounds(repeats, seed))
    assert rounds == list(found.rounds(repeats + 1, seed))[:-1]  # a longer run begins as a shorter one


def test_seed_and_repeat_make_the_order() -> None:
    found = planned(MANY)
    orders = [tuple(order) for seed in range(5) for _, order in batches(list(found.rounds(5, seed)))[1:]]
    assert len(set(orders)) > 20


def test_a_case_whose_weights_do_not_fit_is_skipped() -> None:
    read = grid.parse({"sweep": [{"layer": "dense", "d_model": 1024, "d_ff": [1024, 1_000_000]}]}, source="g.toml")
    found = make(read, memory={"cpu": 2 * 2**30})
    assert [p.skip for p in found.cases] == [None, "weights take 7.6 GiB, cpu has 2.0 GiB"]
    assert all(p.skip is None for p in make(read, memory={"cuda": 2**30}).cases)


# one case


def test_a_single_case_has_every_other_axis_at_its_default() -> None:
    case = single("token_choice", {"num_experts": "8", "capacity_factor": "none"})
    assert dict(case) == {
        "activation": "gelu",
        "backend": "grouped",
        "batch_priority": False,
        "batch_size": 1,
        "cache": "hot",
        "capacity_factor": None,
        "capacity_rounding": "round",
        "d_ff": 1536,
        "d_model": 384,
        "device": "cpu",
        "dtype": "float32",
        "group_size": None,
        "input": "photo",
        "launch": "eager",
        "layer": "token_choice",
        "mode": "forward",
        "num_experts": 8,
        "renormalize": False,
        "seed": 0,
        "seq_len": 196,
        "threads": None,
        "top_k": 2,
    }
    assert single("dense", {}, devices=BOTH)["device"] == "cuda"


def test_a_training_step_names_its_optimizer_and_other_modes_have_none() -> None:
    assert single("dense", {"mode": "train_step"})["optimizer"] == "adamw"
    assert single("dense", {"mode": "train_step"}) == single("dense", {"mode": "train_step", "optimizer": "adamw"})
    assert single("dense", {"mode": "train_step", "optimizer": "sgd"})["optimizer"] == "sgd"
    assert "optimizer" not in dict(single("dense", {}))


@pytest.mark.parametrize(
    ("axes", "devices", "why"),
    [
        (
            {"mode": "forward", "optimizer": "sgd"},
            ("cpu",),
            "optimizer=sgd means nothing in mode=forward, only in train_step",
        ),
        ({"launch": "graph"}, ("cpu",), "launch=graph replays CUDA graphs and means nothing on cpu"),
        (
            {"launch": "compile", "backend": "compile"},
            ("cpu",),
            "backend=compile is compiled already: launch=compile would measure the same twice",
        ),
        ({"launch": "graph"}, BOTH, None),
        ({"launch": "compile", "mode": "train_step"}, ("cpu",), None),
    ],
)
def test_common_axes_that_do_not_go_together(axes: dict[str, Any], devices: tuple[str, ...], why: str | None) -> None:
    found = planned(SOFT, {**SOFT, **axes}, devices=devices)
    assert found.cases[-1].skip == why


@pytest.mark.parametrize(
    ("layer", "axes", "text"),
    [
        ("dense", {"batch_size": [1, 2]}, "dense: one value for each axis, got 2 cases"),
        ("dense", {"device": ["cpu", "cuda"]}, "dense: one value for each axis, got 2 cases"),
        ("soft", {"num_experts": 8}, "soft: sweep 1: layer soft needs slots_per_expert = a whole number >= 1"),
        ("dense", {"seed": -1}, "dense: sweep 1: seed = -1: takes a whole number >= 0"),
        (
            "token_choice",
            {"num_experts": 1},
            "grid token_choice has no case that can be measured: top_k=2 is more than num_experts=1",
        ),
    ],
)
def test_a_single_case_that_is_none(layer: str, axes: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError) as error:
        plan.single(layer, axes)
    assert str(error.value) == text


# layers of other packages

THEIRS = {"layer": "soft_moe_pytorch", "num_experts": 8, "slots_per_expert": 4}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """What is installed, as far as a plan can see."""
    found: dict[str, str | None] = {}
    monkeypatch.setattr("bench.layers.layer.package_versions", lambda names: {name: found.get(name) for name in names})
    return found


def test_a_layer_whose_package_is_missing_is_skipped_with_what_to_type(installed: dict[str, str | None]) -> None:
    found = planned(SOFT, THEIRS)
    why = (
        "soft-moe-pytorch is not installed: pip install soft-moe-pytorch==0.1.9, or pip install 'softmoe-bench[peers]'"
    )
    assert [p.skip for p in found.cases] == [None, why]
    assert found.packages == []
    assert complaint(THEIRS) == f"grid g has no case that can be measured: {why}"
    installed["soft-moe-pytorch"] = "0.1.9"
    found = planned(SOFT, THEIRS)
    assert [p.skip for p in found.cases] == [None, None]
    assert found.packages == ["soft-moe-pytorch"]


@pytest.mark.usefixtures("installed")
def test_a_case_without_a_meaning_is_so_whatever_is_installed() -> None:
    found = planned(SOFT, {"layer": "mixture_of_experts", "num_experts": 1})
    assert found.cases[1].skip == "mixture-of-experts sends every token to two experts: num_experts must be at least 2"


def test_a_plan_of_which_nothing_can_be_measured_may_be_asked_for() -> None:
    read = grid.parse({"sweep": [{**TOKENS, "top_k": 9}]}, source="g.toml")
    with pytest.raises(InputError, match="grid g has no case that can be measured"):
        make(read)
    assert [p.skip for p in make(read, measurable=False).cases] == ["top_k=9 is more than num_experts=8"]
