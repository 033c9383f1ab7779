"""Evidence of many cases taken together: published examples, and what the procedures promise."""

import random

import pytest

from bench.families import benjamini_hochberg, holm

HOLM_1979 = (0.01, 0.04, 0.03, 0.005)
"""Of the method's article in Wikipedia (2024): at 5 % the first and the last are rejected, no other."""

BENJAMINI_HOCHBERG_1995 = (
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0
)  # fmt: skip
"""Table of their section 4.1: 15 endpoints of a trial, of which Bonferroni rejects three and they reject four."""


def test_the_example_of_holms_procedure() -> None:
    assert holm(HOLM_1979, 0.05) == {0, 3}


def test_the_example_of_benjamini_and_hochberg() -> None:
    assert benjamini_hochberg(BENJAMINI_HOCHBERG_1995, 0.05) == {0, 1, 2, 3}
    assert holm(BENJAMINI_HOCHBERG_1995, 0.05) == {0, 1, 2}


def test_order_does_not_matter_and_nothing_is_nothing() -> None:
    mixed = list(range(15))
    random.Random(1).shuffle(mixed)  # noqa: S311
    found = benjamini_hochberg([BENJAMINI_HOCHBERG_1995[i] for i in mixed], 0.05)
    assert {mixed[place] for place in found} == {0, 1, 2, 3}
    assert holm([], 0.05) == benjamini_hochberg([], 0.05) == set()


def test_a_later_p_carries_earlier_ones_with_it() -> None:
    """None of the first three stands at its own rank; the fourth does, and the largest rank that does decides."""
    assert benjamini_hochberg([0.04, 0.045, 0.048, 0.05], 0.05) == {0, 1, 2, 3}
    assert holm([0.04, 0.045, 0.048, 0.05], 0.05) == set()


@pytest.mark.parametrize("procedure", [holm, benjamini_hochberg])
def test_without_any_change_at_most_one_family_in_twenty_has_an_alarm(procedure: object) -> None:
    draw = random.Random(3)  # noqa: S311
    families = [[draw.random() for _ in range(50)] for _ in range(2000)]
    alarms = sum(bool(procedure(ps, 0.05)) for ps in families)  # type: ignore[operator]
    assert 0.035 <= alarms / len(families) <= 0.065


def test_of_what_the_table_claims_one_in_twenty_is_mistaken() -> None:
    draw = random.Random(4)  # noqa: S311
    mistaken = []
    for _ in range(500):
        ps = [*(draw.random() for _ in range(60)), *(draw.random() * 1e-3 for _ in range(20))]
        found = benjamini_hochberg(ps, 0.05)
        mistaken.append(sum(place < 60 for place in found) / max(1, len(found)))
    assert sum(mistaken) / len(mistaken) <= 0.05
