"""Derived values: arithmetic on axes, and nothing is ever carried out beside it."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import InputError
from bench.expression import Derived, names_in

POINT = {
    "seq_len": 196,
    "num_experts": 8,
    "capacity_factor": 1.5,
    "dtype": "float32",
    "group_size": None,
    "batch_priority": True,
}
ONLY = "only numbers, axes, + - * / // %, min(...) and max(...) may be used"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("seq_len // num_experts", 24),
        ("seq_len % num_experts", 4),
        ("seq_len / num_experts", 24.5),
        ("seq_len - 2 * num_experts + 1", 181),
        ("(seq_len + 4) // num_experts", 25),
        ("-num_experts + 10", 2),
        ("num_experts * capacity_factor", 12.0),
        ("max(1, seq_len // 256)", 1),
        ("min(seq_len, num_experts, 100)", 8),
        ("max(1, min(num_experts, 3))", 3),
        (" seq_len ", 196),
        ("7", 7),
    ],
)
def test_arithmetic_on_axes(text: str, value: float) -> None:
    assert Derived(text).value(POINT) == value


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_operators_are_pythons(a: int, b: int) -> None:
    point = {"seq_len": a, "num_experts": b}
    found = [Derived(f"seq_len {op} num_experts").value(point) for op in ("+", "-", "*", "/", "//", "%")]
    assert found == [a + b, a - b, a * b, a / b, a // b, a % b]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "seq_len // (num_experts - 8)",
            "'seq_len // (num_experts - 8)' cannot be computed: integer division or modulo by zero",
        ),
        ("1 / 0", "'1 / 0' cannot be computed: division by zero"),
        ("seq_len +", "'seq_len +' cannot be computed: invalid syntax (<unknown>, line 1)"),
        ("top_k * 2", f"'top_k' has no number here (axes of this point: {', '.join(POINT)})"),
        ("dtype", f"'dtype' has no number here (axes of this point: {', '.join(POINT)})"),
        ("group_size", f"'group_size' has no number here (axes of this point: {', '.join(POINT)})"),
        ("batch_priority", f"'batch_priority' has no number here (axes of this point: {', '.join(POINT)})"),
        ("max", f"'max' has no number here (axes of this point: {', '.join(POINT)})"),
        ("seq_len ** 2", ONLY),
        ("seq_len << 2", ONLY),
        ("'a' * 1000", ONLY),
        ("True", ONLY),
        ("+seq_len", ONLY),
        ("max(seq_len)", ONLY),
        ("max(seq_len, default=1)", ONLY),
        ("max(*[1, 2])", ONLY),
        ("abs(seq_len)", ONLY),
        ("seq_len if 1 else 2", ONLY),
        ("seq_len > 1", ONLY),
        ("seq_len.real", ONLY),
        ("[seq_len][0]", ONLY),
        ("(lambda: 1)()", ONLY),
        ("seq_len // 0.0", "'seq_len // 0.0' cannot be computed: float floor division by zero"),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        Derived(text).value(POINT)
    assert str(error.value) == message


@pytest.mark.parametrize("text", ["1+" * 120 + "1", "-" * 300 + "1"])
def test_a_long_expression_is_refused_before_it_is_parsed(text: str) -> None:
    with pytest.raises(InputError, match=r" cannot be computed: longer than 200 characters$"):
        Derived(text).value(POINT)
    with pytest.raises(SyntaxError, match=r"^longer than 200 characters$"):
        names_in(text)


def test_the_longest_expression() -> None:
    assert Derived("1+" * 99 + "10").value({}) == 109
    with pytest.raises(InputError, match=r"longer than 200 characters$"):
        Derived("1+" * 100 + "1").value({})


@pytest.mark.parametrize(
    "text", ["9" * 198 + "*9", "1e300 * 1e300", "9" * 190 + " / 1e-300", "(" * 99 + "1" + ")" * 99, "-" * 199 + "1"]
)
def test_extreme_expressions_are_a_number_or_too_large_for_one(text: str) -> None:
    with suppress(InputError):
        assert isinstance(Derived(text).value(POINT), int | float)


def test_nothing_is_executed(tmp_path: Path) -> None:
    proof = tmp_path / "x"
    for text in (
        f"__import__('os').mkdir('{proof}')",
        f"open('{proof}', 'w')",
        f"max(open('{proof}', 'w'), 1)",
    ):
        assert len(text) <= 200
        with pytest.raises(InputError, match=r"^only numbers, axes"):
            Derived(text).value(POINT)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("seq_len // num_experts", {"seq_len", "num_experts"}),
        ("max(1, top_k)", {"top_k"}),
        ("__import__('os')", {"__import__"}),
        ("3", set()),
    ],
)
def test_the_axes_that_an_expression_names(text: str, names: set[str]) -> None:
    assert names_in(text) == names


@pytest.mark.parametrize("text", ["", "a b", "1 +", "x = 1", "import os", "seq_len\0"])
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(SyntaxError):
        names_in(text)
