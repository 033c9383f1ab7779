"""Layers of other packages in a report: no ratio without an output that agrees, and no place in a ranking."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench import layers
from bench.records import Flag, Status
from bench.report import findings, naming, view
from bench.report.sections import figures, peers, summary

if TYPE_CHECKING:
    from types import SimpleNamespace

    from bench.records import Case, Outcome
    from bench.report.section import Section
    from bench.results import RunResults

OURS = {"normalize": "tokens"}


def rows(section: Section | None, table: int = 0) -> list[list[str]]:
    assert section is not None
    whole = re.findall(r"<table.*?</table>", str(section.body), flags=re.DOTALL)[table]
    found = re.findall(r"<tr.*?</tr>", whole, flags=re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in found]
    return [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in cells]


def beside(
    make: SimpleNamespace, ours: Case, theirs: Case, *, flags: tuple[str, ...] = (), factor: float = 2.0
) -> RunResults:
    """Both measured in three rounds that drift alike, theirs `factor` times as slow and 1.5 times as big."""
    seconds = (0.010, 0.012, 0.011)
    outcomes: list[Outcome] = [
        *make.full(ours, *seconds, peak_memory=2.0e6),
        *make.full(theirs, *(factor * s for s in seconds), peak_memory=3.0e6, flags=flags),
    ]
    return make.run([ours, theirs], outcomes)


def test_an_output_that_agrees_earns_a_ratio_of_time_and_memory(make: SimpleNamespace) -> None:
    found = beside(make, make.case("soft", **OURS), make.case("soft_moe_pytorch"))
    section = peers.build([found])
    assert section.title == "Layers of other packages"
    assert rows(section) == [
        [
            "case", "output", "largest error", "our layer", "time, theirs / ours", "95 % interval",
            "peak memory, theirs / ours", "remark",
        ],
        [
            "Soft MoE by lucidrains · soft-moe-pytorch", "agrees", "1.00e-07", "Soft MoE · fused", "2.00",
            "2.00 to 2.00", "1.50", "",
        ],
    ]  # fmt: skip


def test_no_section_without_such_a_layer(make: SimpleNamespace) -> None:
    assert peers.build([make.quick()]) is None


@pytest.mark.parametrize("layer", [name for name, of in layers.TABLE.items() if of.package and not of.package.matches])
def test_another_function_has_no_ratio_whatever_stands_beside_it(make: SimpleNamespace, layer: str) -> None:
    ours = make.case("token_choice", capacity_factor=None, renormalize=True, activation="swiglu")
    found = beside(make, ours, make.case(layer), factor=0.1)
    section = peers.build([found])
    (row,) = rows(section)[1:]
    assert row[0] == f"{layers.TABLE[layer].title} · {layers.package(layer).name}"
    assert row[1:2] + row[3:] == [peers.ANOTHER, *["–"] * 4, ""]
    assert "faster than" not in str(section.body)
    assert "speed-up" not in str(section.body)


def test_an_output_that_differs_has_no_ratio(make: SimpleNamespace) -> None:
    found = beside(make, make.case("soft", **OURS), make.case("soft_moe_pytorch"), flags=("inaccurate",))
    (row,) = rows(peers.build([found]))[1:]
    assert row[1:] == [
        "differs", "1.00e-07", "–", "–", "–", "–", "not compared: its output is not that of our layer",
    ]  # fmt: skip


def test_an_output_that_was_not_checked_has_no_ratio(make: SimpleNamespace) -> None:
    ours, theirs = make.case("soft", **OURS), make.case("soft_moe_pytorch")
    found = make.run([ours, theirs], [*make.full(ours, 0.01, 0.01), *make.timed(theirs, 0.01, 0.01)])
    (row,) = rows(peers.build([found]))[1:]
    assert row[1:] == ["not checked", *["–"] * 5, "not compared: its output was not checked"]


def test_a_case_without_a_result_says_why(make: SimpleNamespace) -> None:
    theirs = make.case("soft_moe_bwconrad")
    found = make.run([theirs], [make.failed(theirs, Status.SKIPPED, "soft-moe is not installed")])
    section = peers.build([found])
    assert rows(section)[1][1:] == ["not checked", *["–"] * 5, "skipped; see Failures"]
    assert rows(section, 1)[1][:3] == ["Soft MoE by bwconrad", "soft-moe", "–"]
    (row,) = rows(peers.build([make.run([theirs], [])]))[1:]
    assert row[-1] == "not measured; see Failures"


@pytest.mark.parametrize(
    "axes", [{"normalize": "logits"}, OURS | {"activation": "swiglu"}, OURS | {"batch_size": 2}, OURS | {"seed": 1}]
)
def test_only_the_same_function_of_the_same_tokens_is_a_twin(make: SimpleNamespace, axes: dict[str, object]) -> None:
    found = beside(make, make.case("soft", **axes), make.case("soft_moe_pytorch"))
    (row,) = rows(peers.build([found]))[1:]
    assert row[1:2] + row[3:] == ["agrees", *["–"] * 4, "our layer has no good result beside it"]


def test_a_wrong_layer_of_ours_is_no_twin(make: SimpleNamespace) -> None:
    ours, theirs = make.case("soft", **OURS), make.case("soft_moe_pytorch")
    outcomes = [*make.full(ours, 0.01, 0.01, flags=("inaccurate",)), *make.full(theirs, 0.01, 0.01)]
    (row,) = rows(peers.build([make.run([ours, theirs], outcomes)]))[1:]
    assert row[-1] == "our layer has no good result beside it"


def test_mixtral_stands_beside_our_form_of_it_and_every_row_names_its_backend(make: SimpleNamespace) -> None:
    form = {"capacity_factor": None, "renormalize": True, "activation": "swiglu"}
    cases = [make.case("token_choice", backend=backend, **form) for backend in ("grouped", "loop")]
    cases += [make.case("mixtral_transformers", backend=backend) for backend in ("eager", "grouped_mm")]
    times = (0.010, 0.020, 0.100, 0.010)
    outcomes = [o for of, t in zip(cases, times, strict=True) for o in make.full(of, t, t, t)]
    found = rows(peers.build([make.run(cases, outcomes)]))
    assert [[row[0], row[3], row[4]] for row in found[1:]] == [
        ["Mixtral block by Hugging Face · eager", "Tokens choice (top-k) · grouped", "10.00"],
        ["Mixtral block by Hugging Face · grouped_mm", "Tokens choice (top-k) · grouped", "1.00"],
    ]


def test_a_ratio_that_is_no_claim_says_so(make: SimpleNamespace) -> None:
    ours, theirs = make.case("soft", **OURS), make.case("soft_moe_pytorch")
    busy = [replace(o, flags=(Flag("loaded"),)) for o in beside(make, ours, theirs).cases[1].outcomes]
    remarks = {}
    for name, outcomes in {
        "busy": [*make.full(ours, 0.01, 0.01, 0.01), *busy],
        "one": [*make.full(ours, 0.01), *make.full(theirs, 0.02)],
        "tied": [*make.full(ours, 0.01, 0.02, 0.01), *make.full(theirs, 0.02, 0.01, 0.011)],
        "apart": [*make.full(ours, 0.01), *make.full(theirs, 0.02, 0.02)[:1], make.timed(theirs, 0.02, 0.02)[1]],
    }.items():
        remarks[name] = rows(peers.build([make.run([ours, theirs], outcomes)]))[1][-1]
    assert remarks == {
        "busy": "nothing is claimed: other programs used the machine",
        "one": "a single round: too few for a claim",
        "tied": "cannot be told apart in time",
        "apart": "never timed in the same round",
    }


def test_packages_are_described_once_with_the_version_that_was_measured(make: SimpleNamespace) -> None:
    cases = [make.case("mixture_of_experts", mode=mode) for mode in ("forward", "forward_backward")]
    cases.append(make.case("mixtral_transformers"))
    found = make.run(cases, [o for of in cases for o in make.full(of, 0.01, 0.01)])
    facts = found.run.environment
    known = replace(facts, informational={"packages": {"mixture-of-experts": "0.2.3"}})
    found = replace(found, run=replace(found.run, environment=known))
    top_2, mixtral = layers.package("mixture_of_experts"), layers.package("mixtral_transformers")
    assert rows(peers.build([found]), 1)[1:] == [
        ["Top-2 MoE by lucidrains", "mixture-of-experts", "0.2.3", "none of ours", top_2.differs, top_2.install],
        [
            "Mixtral block by Hugging Face", "transformers", "–",
            "Tokens choice (top-k), dropless, renormalised gates, SwiGLU experts", mixtral.differs, mixtral.install,
        ],
    ]  # fmt: skip


def test_two_runs_keep_their_own_twins(make: SimpleNamespace) -> None:
    ours, theirs = make.case("soft", **OURS), make.case("soft_moe_pytorch")
    first = beside(make, ours, theirs)
    second = make.run([theirs], make.full(theirs, 0.01, 0.01), id="b" * 12, name="after")
    table = rows(peers.build([first, second]))
    assert [row[4] for row in table[1:]] == ["2.00", "–"]
    assert table[2][0].endswith("[after]")


# the rest of the page


@pytest.mark.parametrize("layer", [name for name, of in layers.TABLE.items() if of.package])
def test_the_first_screen_ranks_no_layer_of_another_package(make: SimpleNamespace, layer: str) -> None:
    cases = [make.case(), make.case("soft"), make.case(layer)]
    outcomes = [o for of, t in zip(cases, (0.01, 0.02, 0.001), strict=True) for o in make.full(of, t, t, t)]
    said = findings.of_run(view.of([make.run(cases, outcomes)]), 0)
    ((_, sentences),) = said.claims
    assert sentences[0].startswith("Dense FFN is the fastest of 2 designs")
    assert len(sentences) == 2
    assert layers.TABLE[layer].title not in " ".join(sentences)
    assert said.notes[0] == (
        "Layers of other packages are not ranked here; each stands beside ours in a section of its own."
    )


def test_a_run_of_other_packages_alone_has_no_answer(make: SimpleNamespace) -> None:
    of = make.case("st_moe_pytorch")
    text = str(summary.build([make.run([of], make.full(of, 0.01, 0.01))]).body)
    assert "No case that can be ranked was timed." in text


def test_a_layer_without_backends_shows_its_package_in_every_table(make: SimpleNamespace) -> None:
    of = make.case("st_moe_pytorch")
    table = rows(figures.build([make.run([of], make.full(of, 0.01, 0.01))]))
    assert table[0][:2] == ["layer", "backend"]
    assert table[1][:2] == ["ST-MoE by lucidrains", "st-moe-pytorch"]
    assert naming.kind(of) == "ST-MoE by lucidrains · st-moe-pytorch"
    assert naming.kind(make.case()) == "Dense FFN"
    assert naming.kind(make.case("mixtral_transformers")) == "Mixtral block by Hugging Face · eager"
