"""Which case is held against which."""

import pytest
from recorded import dense, soft

from bench.errors import InputError
from bench.pairing import Pair, match, parse_pair
from bench.records import Case


def names(matched: list[tuple[Case | None, Case | None]]) -> list[tuple[object, object]]:
    return [(b and b.get("backend", b["layer"]), c and c.get("backend", c["layer"])) for b, c in matched]


def test_without_a_pair_the_same_case_is_meant() -> None:
    shared, gone, fresh = soft(), dense(), soft(num_experts=16)
    assert match([gone, shared], [fresh, shared], None) == [(gone, None), (shared, shared), (None, fresh)]


def test_a_pair_differs_in_its_axis_alone() -> None:
    cases = [soft(backend=b, num_experts=n) for n in (8, 16) for b in ("einsum", "fused")]
    found = match(cases, cases, Pair("backend", "einsum", "fused"))
    assert found == [(cases[0], cases[1]), (cases[2], cases[3])]


def test_cases_without_a_partner_are_on_their_own_on_either_side() -> None:
    cases = [soft(backend="einsum"), soft(backend="fused", num_experts=16)]
    found = match(cases, cases, Pair("backend", "einsum", "fused"))
    assert names(found) == [("einsum", None), (None, "fused")]
    back = match(cases, cases, Pair("backend", "fused", "einsum"))
    assert {pair[::-1] for pair in back} == set(found)


def test_axes_that_only_one_side_has_do_not_matter_and_backends_belong_to_their_layer() -> None:
    several = [soft(num_experts=n) for n in (8, 16)]
    assert match(several, [dense()], Pair("layer", "soft", "dense")) == [(case, dense()) for case in several]


def test_two_partners_are_refused() -> None:
    with pytest.raises(InputError, match="has 2 partners; narrow the runs down with --set"):
        match([dense()], [soft(num_experts=n) for n in (8, 16)], Pair("layer", "dense", "soft"))


def test_a_value_that_no_case_has_is_refused() -> None:
    with pytest.raises(InputError, match="--pair backend: no case has backend = loop"):
        match([soft()], [soft()], Pair("backend", "fused", "loop"))


def test_thousands_of_cases_find_their_partners_without_asking_each_of_them() -> None:
    """Counted, not timed: every case's axes are looked at as often as a few others', not as all others'."""
    looks = 0

    class Counting(Case):
        def __getitem__(self, name: str) -> object:
            nonlocal looks
            looks += 1
            return super().__getitem__(name)

    axes = dict(soft().axes)
    cases = [Counting({**axes, "backend": b, "seed": seed}) for seed in range(300) for b in ("einsum", "fused")]
    found = match(cases, cases, Pair("backend", "einsum", "fused"))
    assert all(b["seed"] == c["seed"] for b, c in found)
    assert looks < 100 * len(cases)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("backend", "--pair backend: write axis=base,candidate as in backend=einsum,fused"),
        ("backend=einsum", "--pair backend=einsum: write axis=base,candidate"),
        ("bakend=a,b", "unknown axis 'bakend'; did you mean backend?"),
        ("batch_size=1,x", "batch_size = 'x': takes a whole number >= 1"),
        ("batch_size=2,2.0", "both sides are 2"),
    ],
)
def test_a_pair_that_makes_no_sense(words: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_pair(words)
    assert message in str(caught.value)
