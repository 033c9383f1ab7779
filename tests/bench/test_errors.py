"""What reaches a user as one line, and with which exit code."""

import pytest

from bench.errors import (
    BenchError,
    Exit,
    InputError,
    NotComparableError,
    StoreError,
    WorkerError,
    unknown,
)


def test_the_exit_codes_are_those_of_the_manual() -> None:
    assert {code.name: code.value for code in Exit} == {
        "OK": 0,
        "WORSE": 1,
        "BAD_INPUT": 2,
        "INCOMPLETE": 3,
        "NOT_COMPARABLE": 4,
        "UNDECIDED": 5,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize(
    ("kind", "code"),
    [(BenchError, 2), (InputError, 2), (StoreError, 2), (WorkerError, 3), (NotComparableError, 4)],
)
def test_each_kind_has_its_exit_code_and_keeps_its_text(kind: type[BenchError], code: int) -> None:
    error = kind("what went wrong")
    assert isinstance(error, BenchError)
    assert error.exit_code == code
    assert str(error) == "what went wrong"


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("sfot", "unknown layer 'sfot'; did you mean soft? (allowed: dense, soft)"),
        ("denes", "unknown layer 'denes'; did you mean dense? (allowed: dense, soft)"),
        ("xyz", "unknown layer 'xyz' (allowed: dense, soft)"),
        ("", "unknown layer '' (allowed: dense, soft)"),
    ],
)
def test_an_unknown_word_is_named_with_its_nearest_and_what_is_allowed(word: str, text: str) -> None:
    assert unknown("layer", word, ("dense", "soft")) == text


def test_what_is_allowed_may_be_read_only_once() -> None:
    assert unknown("axis", "b", iter(["a", "bb"])) == "unknown axis 'b'; did you mean bb? (allowed: a, bb)"


def test_only_the_nearest_of_several_is_offered() -> None:
    text = "unknown axis 'd_mdel'; did you mean d_model? (allowed: d_modes, d_model, d_models)"
    assert unknown("axis", "d_mdel", ["d_modes", "d_model", "d_models"]) == text
