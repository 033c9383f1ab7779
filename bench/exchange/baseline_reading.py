"""A run from the file of a baseline: what `bench.exchange.baseline` wrote, believed as far as it makes sense."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench import caveats
from bench.exchange.baseline import FORM, FORMS, UNITS, counted
from bench.exchange.reading import Fields, show
from bench.exchange.record import Recorded, checked, in_order
from bench.medians import HALF_WIDTH, TAKEN
from bench.records import INSPECTION, Environment, Flag, Observation, Outcome, Planned, Run, Status

if TYPE_CHECKING:
    from bench.records import Case


def read(fields: Fields) -> Recorded:
    """Returns the run that a baseline's file tells of, each process with its median as its only sample.

    Raises:
        InputError: something in it is missing or wrong, or a newer version of this program wrote it.
    """
    form = fields.whole("form")
    if form not in FORMS:
        hint = "use a newer softmoe-bench" if form > FORM else "this version has no way to read it"
        fields.refuse(f"the file has form {form}, this program reads form {FORM}: {hint}")
    of, cases = fields.fields("run"), fields.fields("cases")
    run = Run(
        id=of.run_id("id"),
        name=of.text("name"),
        grid=fields.text("grid"),
        description=fields.text("description"),
        command=fields.text("command"),
        settings=fields.plain("settings"),
        environment=Environment(fields.plain("machine"), fields.informational("facts")),
        started=of.date("started"),
        finished=of.date("finished") if of.has("finished") else None,
        state="complete",
    )
    shared = fields.plain("shared_axes")
    found = {}
    for id_ in cases.content:
        block = cases.fields(id_)
        case = block.case("axes", id_, shared)
        found[case] = _outcomes(block, case, run.started)
    plan = tuple(Planned(case) for case in in_order(list(found)))
    outcomes = tuple(o for p in plan for o in found[p.case])
    return checked(Recorded(run, plan, outcomes, fields.text("name")), fields)


def _outcomes(block: Fields, case: Case, started: float) -> list[Outcome]:
    """Returns the outcomes that a block tells of."""
    found: dict[int, Outcome] = {}
    if block.has("exact"):
        exact = block.fields("exact")
        seen = tuple(Observation(name, UNITS.get(name, "B"), (exact.number(name),)) for name in exact.content)
        found[INSPECTION] = Outcome(
            case.id, INSPECTION, Status.OK, observations=seen, started=started, finished=started
        )
    for outcome in _timed(block, case, started) if block.has("latency") else ():
        inspected = found.get(outcome.repeat)
        seen = (*(inspected.observations if inspected else ()), *outcome.observations)
        found[outcome.repeat] = replace(outcome, observations=seen)
    if block.has("disturbed"):
        flags = block.fields("disturbed")
        for code in flags.content:
            if code not in caveats.DISTURBED:
                flags.refuse(f"'{code}' is no disturbance, expected one of {', '.join(caveats.DISTURBED)}")
            for repeat in flags.wholes(code):
                if repeat not in found:
                    flags.refuse(f"'{code}' names process {repeat}, of which nothing else is told")
                found[repeat] = replace(found[repeat], flags=(*found[repeat].flags, Flag(code)))
    for repeat, status, why in _ended(block) if block.has("ended") else ():
        found[repeat] = Outcome(case.id, repeat, status, why, started=started, finished=started)
    return list(found.values())


def _timed(block: Fields, case: Case, started: float) -> list[Outcome]:
    """Returns the processes that timed a case; the reference is such that their ratio keeps its median."""
    latency = block.times("latency")
    repeats = block.wholes("repeat") if block.has("repeat") else counted(len(latency))
    if len(latency) != len(repeats) or len(set(repeats)) != len(repeats):
        block.refuse("'latency' needs one figure for each process of 'repeat', and each process once")
    relative, widths = (_column(block, name, len(repeats)) for name in ("relative_latency", "half_width"))
    if any(factor == 0 for factor in relative):
        block.refuse("'relative_latency' holds 0, expected factors above 0")
    finished, taken = started + block.number("seconds"), _counts(block, len(repeats))
    found = []
    for repeat, seconds, factor, count, width in zip(repeats, latency, relative, taken, widths, strict=True):
        seen = [Observation("latency", "s", (seconds,))]
        if factor is not None:
            seen.append(Observation("reference_latency", "s", (seconds / factor,)))
        facts = {TAKEN: count, HALF_WIDTH: width}
        found.append(
            Outcome(
                case.id, repeat, Status.OK, observations=tuple(seen), facts=facts, started=started, finished=finished
            )
        )
    return found


def _counts(block: Fields, length: int) -> list[int]:
    """Returns how many samples each process took."""
    _column(block, "samples", length)
    return block.wholes("samples")


def _column(block: Fields, name: str, length: int) -> list[float | None]:
    """Returns one figure for each process, None where it is unknown."""
    values = block.content.get(name)
    if not isinstance(values, list) or len(values) != length:
        block.refuse(f"'{name}' is {show(values)}, expected a list with one figure, or null, for each process")
    known = iter(Fields(block.where, {name: [value for value in values if value is not None]}).numbers(name))
    found = [None if value is None else next(known) for value in values]
    if any(value is not None and value < 0 for value in found):
        block.refuse(f"'{name}' holds a figure below 0")
    return found


def _ended(block: Fields) -> list[tuple[int, Status, str]]:
    """Returns how processes ended that did not end well: repeat, status and reason."""
    rows = block.content["ended"]
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 3 for row in rows):
        block.refuse("'ended' needs a list of [process, status, reason]")
    named = [Fields(block.where, dict(zip(("process", "status", "reason"), row, strict=True))) for row in rows]
    return [(row.whole("process"), row.status("status"), row.text("reason")) for row in named]
