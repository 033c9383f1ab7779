import json
import math
from dataclasses import fields

import pytest
from compared import HOSTILE, case, compared, grown, mixed

from bench.formats import TABLE, Context
from bench.stats import Interval
from bench.verdicts import Comparison, Verdict


def answer(found: object, **asked: object) -> dict:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(TABLE["json"](found, Context(**asked)), parse_constant=refuse)


def test_the_whole_says_what_fired_and_what_it_comes_to() -> None:
    found = answer(mixed(), report="r.html")
    assert (found["schema"], found["base"], found["candidate"]) == (1, "main", "pr-17")
    assert (found["worse"], found["incomplete"], found["undecided"], found["exit_code"]) == (True, True, True, 1)
    assert (found["total"], found["compared"]) == (14, 10)
    assert found["counts"]["same"] == 6
    assert len(found["fired"]["slower"]) == len(found["gate"]) == 2
    assert found["fail_on"][:2] == ["slower", "memory"]
    assert found["remarks"] == ["All findings lie on one side."]
    assert found["layers"][0]["worst"]["name"] == "soft/fused experts=32"
    assert found["layers"][0]["mean_ratio"] == pytest.approx((1.21 * 1.12 * 0.80) ** (1 / 3))


def test_a_gate_of_nothing_still_says_what_is_worse() -> None:
    found = answer(mixed(), fail_on=frozenset())
    assert (found["worse"], found["exit_code"], found["fail_on"]) == (True, 0, [])


def test_a_case_has_every_field_of_its_record() -> None:
    row = case("soft", Verdict.UNCLEAR, 1.05, needed=9, seconds=2.0, detectable=0.1, p=0.2, changes=(grown(),))
    (found,) = answer(compared([row]))["cases"]
    renamed = {"case_id": "case", "raw": "raw_ratio"}
    assert {renamed.get(field.name, field.name) for field in fields(Comparison)} <= found.keys()
    assert (found["base"], found["candidate"]) == (1e-3, pytest.approx(1.05e-3))
    assert found["ratio"] == {
        "estimate": 1.05,
        "low": pytest.approx(1.0),
        "high": pytest.approx(1.1),
        "processes": 5,
        "replicates": 5,
    }
    assert found["changes"] == [
        {"metric": "peak_memory", "unit": "B", "base": 2**21, "candidate": 1.5 * 2**21, "ratio": 1.5, "worse": True}
    ]
    assert found["base_figure"]["unit"] == "s"


def test_numbers_that_json_does_not_have_are_null() -> None:
    row = case("a", Verdict.UNCLEAR, 1.0, ratio=Interval(math.nan, -math.inf, math.inf, 2), detectable=math.inf)
    (found,) = answer(compared([row]))["cases"]
    assert found["ratio"]["estimate"] is found["ratio"]["low"] is found["detectable"] is None


def test_names_are_kept_as_they_are_and_silence_is_not_for_programs() -> None:
    row = case(HOSTILE, Verdict.SAME, 1.0)
    (found,) = answer(compared([row]), quiet=True)["cases"]
    assert found["name"] == HOSTILE
