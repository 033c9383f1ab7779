"""What the claim about published Soft MoE layers comes to, by figures that nobody measured."""

from collections.abc import Mapping

import pytest
import recorded

from bench import claims, layers
from bench.claims.claim import Finding, study
from bench.claims.implementations import CLAIM, OURS, SHAPE
from bench.records import Case, Observation, Outcome, Status

RAW, NORMALISED = (0.5, 2.0), (1e-7, 1e-6)
US = {"logits": RAW, "tokens": NORMALISED, "none": RAW}
THEM = {"soft_moe_pytorch": NORMALISED, "soft_mixture_of_experts": RAW, "soft_moe_bwconrad": NORMALISED}


@pytest.fixture(autouse=True)
def every_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.layers.layer.package_versions", lambda names: dict.fromkeys(names, "9.9"))


def outcome(case: Case, changes: tuple[float, ...]) -> Outcome:
    observed = (Observation("scale_change", "ratio", changes),)
    return Outcome(case.id, 0, Status.OK, observations=observed, facts={"package_version": "9.9"})


def judged(
    them: Mapping[str, tuple[float, ...]], failed: Mapping[str, str] | None = None, **us: tuple[float, ...]
) -> Finding:
    ours = {study("scale", "soft", normalize=name, **SHAPE): changes for name, changes in {**US, **us}.items()}
    theirs = {study("scale", name, **SHAPE): changes for name, changes in them.items()}
    broken = {study("scale", name, **SHAPE): detail for name, detail in (failed or {}).items()}
    outcomes = [outcome(case, changes) for case, changes in (ours | theirs).items()]
    outcomes += [recorded.failed(case, detail=detail) for case, detail in broken.items()]
    return claims.judge([CLAIM], recorded.results(outcomes, [*ours, *theirs, *broken]), fast=True)[0].finding


def test_it_asks_for_our_forms_and_for_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = CLAIM.ask(True)
    assert [case["normalize"] for case in asked.studies if case["layer"] == "soft"] == list(OURS)
    assert {case["layer"] for case in asked.studies} == {"soft", *THEM}
    assert not asked.timed
    monkeypatch.setattr("bench.layers.layer.package_versions", dict.fromkeys)
    assert {case["layer"] for case in CLAIM.ask(True).studies} == {"soft"}


def test_reproduced_with_every_package() -> None:
    finding = judged(THEM)
    assert finding.verdict is claims.Verdict.REPRODUCED
    assert "200 % with normalize=logits, 0.0001 % with normalize=tokens, 200 % with normalize=none" in finding.words
    assert "soft-moe-pytorch 9.9 and soft-moe 9.9 ignores the lengths" in finding.words
    assert "soft-mixture-of-experts 9.9 depends on them" in finding.words
    assert "Not measured" not in finding.words
    assert [line.ours.estimate for line in finding.lines if line.ours] == [2.0, 1e-6, 2.0, 1e-6, 2.0, 1e-6]


def test_packages_that_are_not_there_are_told_and_fail_nothing() -> None:
    finding = judged({"soft_moe_pytorch": NORMALISED}, {"soft_mixture_of_experts": "ImportError: no einops"})
    assert finding.verdict is claims.Verdict.REPRODUCED
    assert "soft-moe (not installed)" in finding.words
    assert "soft-mixture-of-experts (error: ImportError: no einops)" in finding.words
    assert [line.what for line in finding.lines if line.ours is None] == [
        "soft-mixture-of-experts: error: ImportError: no einops",
        "soft-moe: not installed",
    ]


def test_without_any_package_it_says_what_ours_do() -> None:
    finding = judged({})
    assert finding.verdict is claims.Verdict.CANNOT
    assert "The layers of other packages cannot be checked here." in finding.words
    assert "200 % with normalize=logits" in finding.words


@pytest.mark.parametrize(
    ("them", "us"),
    [
        ({**THEM, "soft_moe_bwconrad": RAW}, {}),
        ({**THEM, "soft_mixture_of_experts": NORMALISED}, {}),
        ({**THEM, "soft_moe_pytorch": (1e-7, 1e-3)}, {}),
        (THEM, {"tokens": RAW}),
        ({}, {"logits": NORMALISED}),
    ],
)
def test_not_reproduced_where_a_layer_does_otherwise(
    them: dict[str, tuple[float, ...]], us: dict[str, tuple[float, ...]]
) -> None:
    assert judged(them, **us).verdict is claims.Verdict.NOT_REPRODUCED


def test_it_cannot_be_checked_without_our_own() -> None:
    case = study("scale", "soft", normalize="logits", **SHAPE)
    finding = claims.judge([CLAIM], recorded.results([], [case]), fast=True)[0].finding
    assert finding.verdict is claims.Verdict.CANNOT
    assert "Cannot be checked here" in finding.words


def test_every_layer_it_speaks_of_is_in_the_table() -> None:
    assert set(THEM) <= set(layers.TABLE)
