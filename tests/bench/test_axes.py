"""One table of axes: types, ranges, the words for absent values, and a value's way to text and back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.axes import AXES, COMMON, Axis, AxisValue, label, parse_axis, show_value
from bench.errors import InputError
from bench.layers import TABLE


def same(a: object, b: object) -> bool:
    """Equal and of one type: 1, 1.0 and True are three things here."""
    return a == b and type(a) is type(b)


@pytest.mark.parametrize("value", [8, 8.0, "8", "8.0", "8e0", " 8"])
def test_a_whole_number_however_written(value: object) -> None:
    assert same(parse_axis("num_experts", value), 8)


@pytest.mark.parametrize("value", [1, 1.0, "1", "1.0"])
def test_a_number_however_written(value: object) -> None:
    assert same(parse_axis("capacity_factor", value), 1.0)


@pytest.mark.parametrize(("value", "flag"), [(True, True), (False, False), ("true", True), ("False", False)])
def test_a_flag_however_written(value: object, flag: bool) -> None:
    assert parse_axis("renormalize", value) is flag


@pytest.mark.parametrize("value", [None, "none", "None", "NULL", "null"])
@pytest.mark.parametrize("name", ["capacity_factor", "group_size", "threads"])
def test_an_absent_value_however_written(name: str, value: object) -> None:
    assert parse_axis(name, value) is None


def test_none_is_a_word_where_the_axis_lists_it() -> None:
    assert parse_axis("normalize", "none") == "none"


@pytest.mark.parametrize("value", [2**53 + 1, str(2**53 + 1), 2**63 - 1])
def test_large_whole_numbers_are_not_rounded(value: object) -> None:
    assert parse_axis("seed", value) == int(value)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("num_experts", 0, "num_experts = 0: takes a whole number >= 1"),
        ("num_experts", "-3", "num_experts = '-3': takes a whole number >= 1"),
        ("num_experts", 1.5, "num_experts = 1.5: takes a whole number >= 1"),
        ("num_experts", "nan", "num_experts = 'nan': takes a whole number >= 1"),
        ("num_experts", "inf", "num_experts = 'inf': takes a whole number >= 1"),
        ("num_experts", True, "num_experts = True: takes a whole number >= 1"),
        ("num_experts", None, "num_experts = None: takes a whole number >= 1"),
        ("num_experts", "none", "num_experts = 'none': takes a whole number >= 1"),
        ("num_experts", [8], "num_experts = [8]: takes a whole number >= 1"),
        ("num_experts", "eight", "num_experts = 'eight': takes a whole number >= 1"),
        ("num_experts", 2**63, f"num_experts = {2**63}: takes a whole number >= 1, below 2^63"),
        ("num_experts", 1e30, "num_experts = 1e+30: takes a whole number >= 1, below 2^63"),
        ("seed", 10**400, f"seed = {10**400}: takes a whole number >= 0, below 2^63"),
        ("seed", -1, "seed = -1: takes a whole number >= 0"),
        ("group_size", 0, "group_size = 0: takes a whole number >= 1 | none"),
        ("capacity_factor", 0, "capacity_factor = 0: takes a number > 0 | none"),
        ("capacity_factor", -1.0, "capacity_factor = -1.0: takes a number > 0 | none"),
        ("capacity_factor", "nan", "capacity_factor = 'nan': takes a number > 0 | none"),
        ("capacity_factor", float("inf"), "capacity_factor = inf: takes a number > 0 | none"),
        ("capacity_factor", -(10**400), f"capacity_factor = {-(10**400)}: takes a number > 0 | none"),
        ("renormalize", 1, "renormalize = 1: takes true | false"),
        ("renormalize", "yes", "renormalize = 'yes': takes true | false"),
        (
            "dtype",
            "bfloat",
            "dtype: unknown value 'bfloat'; did you mean bfloat16? (allowed: float32, bfloat16, float16)",
        ),
        ("dtype", 32, "dtype = 32: takes float32 | bfloat16 | float16"),
        ("dtype", "", "dtype = '': takes float32 | bfloat16 | float16"),
        ("dtype", "none", "dtype = 'none': takes float32 | bfloat16 | float16"),
        ("device", "coda", "device: unknown value 'coda'; did you mean cuda? (allowed: auto, cpu, cuda)"),
        ("input", "", "input = '': takes a word"),
        ("layer", None, "layer = None: takes a word"),
    ],
)
def test_a_refused_value_says_axis_value_and_what_is_taken(name: str, value: object, text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_axis(name, value)
    assert str(error.value) == text


def test_an_unknown_axis_is_named_with_its_nearest() -> None:
    with pytest.raises(InputError, match=r"^unknown axis 'num_expert'; did you mean num_experts\? \(allowed: layer, "):
        parse_axis("num_expert", 8)


@pytest.mark.parametrize("axis", AXES.values(), ids=lambda axis: axis.name)
def test_a_default_is_a_value_that_its_axis_takes(axis: Axis) -> None:
    assert re.fullmatch(r"[a-z_]+", axis.name)
    assert axis.text
    if axis.required:
        assert axis.default is None
        assert not axis.optional
    elif axis.name != "backend":  # each layer has its own
        assert same(axis.parse(axis.default), axis.default)


@pytest.mark.parametrize(
    ("names", "least"),
    [
        ("num_experts slots_per_expert top_k group_size batch_size seq_len d_model d_ff threads", 1),
        ("seed", 0),
    ],
)
def test_the_least_of_whole_numbers(names: str, least: int) -> None:
    for name in names.split():
        assert parse_axis(name, least) == least
        with pytest.raises(InputError, match=rf"^{name} = {least - 1}: takes a whole number >= {least}( \| none)?$"):
            parse_axis(name, least - 1)


def test_every_axis_belongs_to_a_layer_and_common_ones_to_all() -> None:
    """All but `study`, which no grid can ask for."""
    assert {name for layer in TABLE.values() for name in layer.takes} == set(AXES) - {"study"}
    assert all(set(COMMON) <= set(layer.of_case) for layer in TABLE.values())


def test_defaults_that_cases_in_stores_rely_on() -> None:
    assert {name: axis.default for name, axis in AXES.items() if not axis.required and axis.default is not None} == {
        "top_k": 2,
        "capacity_factor": 1.0,
        "num_shared_experts": 1,
        "expert_groups": 1,
        "top_groups": 1,
        "assignment": "auction",
        "batch_priority": False,
        "renormalize": False,
        "capacity_rounding": "round",
        "memory": "normal",
        "subset_choice": "combine",
        "renormalize_active": False,
        "normalize": "logits",
        "activation": "gelu",
        "batch_size": 1,
        "seq_len": 196,
        "d_model": 384,
        "d_ff": 1536,
        "dtype": "float32",
        "device": "auto",
        "mode": "forward",
        "launch": "eager",
        "cache": "hot",
        "input": "photo",
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "true"),
        (False, "false"),
        (8, "8"),
        (1.0, "1"),
        (1.25, "1.25"),
        (1e-7, "1e-07"),
        (1 / 3, "0.3333333333333333"),
        ("bfloat16", "bfloat16"),
    ],
)
def test_a_value_as_people_write_it(value: AxisValue, text: str) -> None:
    assert show_value(value) == text


VALUES = st.one_of(
    st.tuples(st.sampled_from(["num_experts", "batch_size", "threads"]), st.integers(1, 2**63 - 1)),
    st.tuples(st.just("capacity_factor"), st.none() | st.floats(0, 1e15, exclude_min=True)),
    st.tuples(st.just("renormalize"), st.booleans()),
    st.sampled_from([("normalize", word) for word in AXES["normalize"].allowed]),
)


@given(VALUES)
def test_what_is_shown_reads_back_as_the_same_value(pair: tuple[str, AxisValue]) -> None:
    name, value = pair
    assert same(parse_axis(name, show_value(value)), value)


def test_a_label_has_the_asked_axes_in_their_order_and_skips_what_a_case_lacks() -> None:
    axes: dict[str, AxisValue] = {"num_experts": 8, "capacity_factor": None, "renormalize": True}
    names = ["renormalize", "top_k", "capacity_factor", "num_experts"]
    assert label(axes, names) == "renormalize=true capacity_factor=none num_experts=8"
    assert label(axes, ()) == ""
