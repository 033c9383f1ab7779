"""A baseline's file: small, readable in a diff, and believed only as far as it makes sense."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from recorded import dense, failed, measured, results, run, soft

from bench import plan
from bench.errors import InputError
from bench.exchange import baseline, baseline_reading, reading
from bench.records import Case, Environment, Flag, Outcome, Status

MACHINE = {
    "cpu": "AMD EPYC 7763 64-Core Processor",
    "cpu_signature": "AuthenticAMD 25 1",
    "cpu_simd": "avx2",
    "cores_physical": 2,
    "cores_usable": 4,
    "cpu_quota": None,
    "memory_bytes": 17179869184,
    "system": "Linux x86_64",
    "python": "CPython 3.11",
    "torch": "2.13.0+cpu",
    "torch_threads": 4,
    "cpu_capability": "AVX2",
    "float32_matmul_precision": "highest",
}
FACTS = {
    "host": "box",
    "date": "2026-11-26T19:45:13+00:00",
    "git": {"commit": "0" * 40, "branch": "main", "dirty": False},
    "packages": {"softmoe-bench": "0.1.0", "torch": "2.13.0+cpu", "triton": None},
}


def text() -> str:
    """Two cases, one of which failed."""
    outcomes = [*measured(soft(), [1.23456789e-3, 1.3e-3]), failed(dense(), Status.OUT_OF_MEMORY, "needs 3 GiB")]
    of = replace(run(), environment=Environment(MACHINE, FACTS))
    return baseline.write(results(outcomes, [soft(), dense()], of=of), "main")


def test_a_grid_of_fourteen_cases_takes_less_than_ten_thousand_bytes() -> None:
    cases = [plan.single("dense", {"batch_size": batch}) for batch in (1, 4)]
    for layer, axes in (("soft", {"slots_per_expert": 24}), ("token_choice", {}), ("expert_choice", {})):
        cases += [
            plan.single(layer, {"num_experts": experts, "batch_size": batch, **axes})
            for experts in (8, 32)
            for batch in (1, 4)
        ]
    assert len(cases) == 14
    outcomes = [outcome for case in cases for outcome in noisy(case)]
    of = replace(run(), environment=Environment(MACHINE, FACTS))
    assert len(baseline.write(results(outcomes, cases, of=of), "main").encode()) < 10_000


def noisy(case: Case) -> list[Outcome]:
    """An inspection and five processes with figures of many digits."""
    seconds = [1.23456789e-3 * (1 + i / 97) for i in range(5)]
    return [
        replace(outcome, facts={"relative_half_width": 0.01234567})
        for outcome in measured(case, seconds, references=[0.987654321e-3] * 5)
    ]


def test_a_slower_case_is_a_difference_of_its_own_lines() -> None:
    def lines(slower: float) -> list[str]:
        outcomes = [*measured(soft(), [slower * 1e-3, slower * 1.1e-3]), *measured(dense(), [2e-3, 2e-3])]
        return baseline.write(results(outcomes, [soft(), dense()]), "main").splitlines()

    differ = [(a, b) for a, b in zip(lines(1), lines(1.5), strict=True) if a != b]
    assert [a.split(":")[0].strip() for a, _ in differ] == ['"latency"', '"relative_latency"']
    assert differ[0][1].strip() == '"latency": [0.0015, 0.00165],'


def test_a_case_more_is_a_block_more() -> None:
    def lines(cases: list[Case]) -> set[str]:
        outcomes = [outcome for case in cases for outcome in measured(case, [1e-3, 2e-3])]
        return set(baseline.write(results(outcomes, cases), "main").splitlines())

    some = [soft(), soft(batch_size=2), dense()]
    assert lines(some) <= lines([*some, soft(batch_size=8)])


def test_cases_are_in_the_order_of_their_ids() -> None:
    cases = [soft(batch_size=size) for size in range(1, 9)]
    content = json.loads(baseline.write(results([], cases), "main"))
    assert list(content["cases"]) == sorted(case.id for case in cases)


def test_it_says_where_it_was_measured_but_not_whose_machine_it_was() -> None:
    content = json.loads(text())
    assert content["machine"] == MACHINE
    assert content["facts"]["git"]["commit"] == "0" * 40
    assert content["facts"]["packages"] == {"softmoe-bench": "0.1.0", "torch": "2.13.0+cpu"}
    assert "box" not in text()


def test_what_failed_is_there_with_its_reason() -> None:
    content = json.loads(text())
    assert content["cases"][dense().id]["ended"] == [[0, "out_of_memory", "needs 3 GiB"]]
    back = baseline_reading.read(reading.parse(text(), "b.json")).results
    case = next(result for result in back.cases if result.case == dense())
    assert (case.status, case.detail) == (Status.OUT_OF_MEMORY, "needs 3 GiB")


def test_exact_figures_keep_all_their_digits() -> None:
    outcomes = measured(soft(), [1e-3, 1e-3])
    outcomes[0] = replace(outcomes[0], observations=(replace(outcomes[0].observations[0], samples=(1_234_567_891.0,)),))
    content = json.loads(baseline.write(results(outcomes, [soft()]), "main"))
    assert content["cases"][soft().id]["exact"] == {"parameters": 1_234_567_891}


def test_processes_on_a_busy_machine_stay_marked() -> None:
    outcomes = measured(soft(), [1e-3, 1e-3, 1e-3])
    outcomes[2] = replace(outcomes[2], flags=(Flag("loaded", "by 80 %"), Flag("time_limit")))
    back = baseline_reading.read(reading.parse(baseline.write(results(outcomes, [soft()]), "main"), "b.json"))
    assert back.results.cases[0].disturbed == {2}


Change = Callable[[dict[str, Any]], object]
CASE = soft().id
WRONG: dict[str, tuple[Change, str]] = {
    "newer": (lambda c: c.update(form=2), r"b\.json: the file has form 2, this program reads form 1: use a newer"),
    "twice": (lambda c: c["cases"][CASE].update(repeat=[1, 1]), "and each process once"),
    "no form": (lambda c: c.pop("form"), "b.json: 'form' is nothing, expected a number"),
    "no cases": (lambda c: c.pop("cases"), "b.json: 'cases' is nothing, expected an object"),
    "run id": (lambda c: c["run"].update(id="../etc"), "run: 'id' is \"../etc\", expected twelve hexadecimal digits"),
    "date": (lambda c: c["run"].update(started="today"), "'started' is \"today\", expected a date as in 2026-"),
    "axis": (lambda c: c["cases"][CASE]["axes"].update(num_expert=8), "unknown axis 'num_expert'; did you mean"),
    "edited": (lambda c: c["cases"][CASE]["axes"].update(num_experts=9), "but its axes give .*: was it edited"),
    "no layer": (lambda c: c["cases"][CASE]["axes"].pop("layer"), "'axes' has no layer"),
    "lengths": (lambda c: c["cases"][CASE]["latency"].pop(), "'relative_latency' is .*, expected a list with one"),
    "counts": (lambda c: c["cases"][CASE]["samples"].pop(), "'samples' is .*, expected a list with one figure"),
    "half": (lambda c: c["cases"][CASE].update(samples=[1.5, 2]), "'samples' holds 1.5, expected whole numbers"),
    "negative": (lambda c: c["cases"][CASE].update(latency=[1, -1]), "'latency' holds a time that is not above 0"),
    "words": (lambda c: c["cases"][CASE].update(latency=[1, "2"]), "'latency' holds \"2\", expected numbers"),
    "column": (lambda c: c["cases"][CASE].update(half_width=None), "'half_width' is null, expected a list with one"),
    "ratio": (lambda c: c["cases"][CASE].update(relative_latency=[1, 0]), "'relative_latency' holds 0"),
    "status": (lambda c: c["cases"][CASE].update(ended=[[1, "lost", ""]]), "'status' is \"lost\", expected one of ok"),
    "ended": (lambda c: c["cases"][CASE].update(ended=[1]), "'ended' needs a list of"),
    "flag": (lambda c: c["cases"][CASE].update(disturbed={"tired": [1]}), "'tired' is no disturbance"),
    "flagged": (lambda c: c["cases"][CASE].update(disturbed={"loaded": [7]}), "names process 7, of which nothing else"),
    "facts": (lambda c: c.update(facts={"git": [1]}), "'git' is \\[1\\], expected an object"),
}


@pytest.mark.parametrize(("change", "complaint"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_its_place(change: Change, complaint: str) -> None:
    content = json.loads(text())
    change(content)
    with pytest.raises(InputError, match=complaint) as raised:
        baseline_reading.read(reading.parse(json.dumps(content), "b.json"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ("", "b.json is no JSON: line 1, column 1"),
        ('{\n"a": 1,\n<<<<<<< HEAD\n}', "b.json is no JSON: line 3, column 1"),
        ("[1]", r"expected an object, found \[1\]"),
        ('{"a": 1, "a": 2}', "'a' is there twice in one object; was it merged by hand"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": 1e999}', "1e999 is no number"),
        ('{"a": "\\ud800"}', "half of a character"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", "too many digits"),
    ],
    ids=["empty", "conflict", "list", "twice", "nan", "infinite", "surrogate", "deep", "digits"],
)
def test_what_is_no_json_is_told_in_one_line(broken: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as raised:
        reading.parse(broken, "b.json")
    assert len(str(raised.value)) < 200
