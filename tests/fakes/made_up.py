"""Runs that hypothesis makes up: any figures, names in any script, cases that failed in any way."""

from dataclasses import replace

from hypothesis import strategies as st
from recorded import dense, run, soft

from bench.records import Flag, Observation, Outcome, Planned, Status
from bench.results import RunResults, of_outcomes

CASES = (
    soft(),
    soft(batch_size=4, input="skewed:1.5"),
    soft(layer="soft", num_experts=4, threads=2),
    dense(),
    dense(mode="train_step", optimizer="sgd"),
)
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
NAMES = WORDS.filter(lambda name: bool(name.strip()) and not name.startswith("baseline:"))
SECONDS = st.floats(1e-9, 1e5)
SAMPLES = st.lists(SECONDS, min_size=1, max_size=8).map(tuple)
BAD = [status for status in Status if status is not Status.OK]


@st.composite
def timed(draw: st.DrawFn, case_id: str, repeat: int) -> Outcome:
    samples = draw(SAMPLES)
    seen = [Observation("latency", "s", samples)]
    if draw(st.booleans()):
        references = draw(st.lists(SECONDS, min_size=len(samples), max_size=len(samples)))
        seen.append(Observation("reference_latency", "s", tuple(references)))
    flags = draw(st.sampled_from([(), (Flag("loaded", "by 40 %"),), (Flag("noisy"), Flag("swapped", "≥ 3 pages"))]))
    began, took = 1.7e9 + draw(st.integers(0, 10**6)), draw(st.floats(0, 100))
    return Outcome(case_id, repeat, Status.OK, "", flags, tuple(seen), {}, began, began + took)


@st.composite
def inspected(draw: st.DrawFn, case_id: str) -> Outcome:
    figures = {"parameters": "count", "peak_memory": "B", "flops_torch": "FLOP", "max_abs_error": "abs"}
    seen = [
        Observation(metric, unit, (draw(st.integers(0, 2**53).map(float) if unit != "abs" else SECONDS),))
        for metric, unit in sorted(figures.items())
        if draw(st.booleans())
    ]
    return Outcome(case_id, 0, Status.OK, observations=tuple(seen), started=1.7e9, finished=1.7e9)


@st.composite
def failed(draw: st.DrawFn, case_id: str, repeat: int) -> Outcome:
    return Outcome(case_id, repeat, draw(st.sampled_from(BAD)), draw(WORDS), started=1.7e9, finished=1.7e9)


@st.composite
def runs(draw: st.DrawFn) -> RunResults:
    """A complete run of some cases: each with processes that timed it, one that failed, both or none."""
    cases = draw(st.lists(st.sampled_from(CASES), min_size=1, unique=True))
    outcomes = []
    for case in cases:
        count = draw(st.integers(0, 3))
        outcomes += [draw(inspected(case.id))] if draw(st.booleans()) else []
        outcomes += [draw(timed(case.id, repeat)) for repeat in range(1, count + 1)]
        outcomes += [draw(failed(case.id, count + 1))] if draw(st.booleans()) else []
    of = replace(run(draw(NAMES)), description=draw(WORDS), command=draw(WORDS), grid=draw(WORDS))
    return of_outcomes(of, [Planned(case) for case in cases], outcomes)
