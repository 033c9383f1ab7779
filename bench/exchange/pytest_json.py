"""Our runs in the form of pytest-benchmark's JSON, for its `compare` and all that reads it, and back.

One benchmark a case, its data the latency samples of all processes one after another; `extra_info.processes` says how
many each process took, with what else it observed, so that nothing is lost on the way back. Cases without a latency
stand beside the benchmarks under `softmoe_bench`, where pytest-benchmark does not look. The form is that of
pytest-benchmark 5.3 (`Metadata.as_dict`, `pytest_benchmark_generate_json`); statistics are made by its own class.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from bench import caveats, layers
from bench.exchange.record import Recorded, checked, stable_name
from bench.records import Environment, Flag, Observation, Outcome, Planned, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.exchange.reading import Fields
    from bench.records import Case
    from bench.results import CaseResult, RunResults

FORM = 1
"""Version of what we add."""

OURS = "softmoe_bench"
"""The key of what we add at the top of the file, and of the facts that our plugin adds to the machine's."""


def is_one(fields: Fields) -> bool:
    """Returns whether we wrote a file in the form of pytest-benchmark."""
    return isinstance(fields.content.get("benchmarks"), list) and OURS in fields.content


def write(found: RunResults) -> str:
    """Returns a run as pytest-benchmark would have written it."""
    import pytest_benchmark  # noqa: PLC0415  (slow, and most commands do not need it)

    run = found.run
    git = run.environment.informational.get("git") or {}
    content = {
        "machine_info": _machine(run.environment),
        "commit_info": {
            "id": git.get("commit", "unversioned"),
            "time": None,
            "author_time": None,
            "dirty": git.get("dirty", False),
            "project": "softmoe-bench",
            "branch": git.get("branch") or "(unknown)",
        },
        "benchmarks": [_benchmark(result) for result in found.cases if _timed(result)],
        "datetime": datetime.fromtimestamp(run.started, UTC).isoformat(),
        "version": pytest_benchmark.__version__,
        OURS: {
            "form": FORM,
            "run": {
                "id": run.id,
                "name": run.name,
                "grid": run.grid,
                "description": run.description,
                "command": run.command,
                "settings": dict(run.settings),
                "informational": dict(run.environment.informational),
                "started": run.started,
                "finished": run.finished,
                "state": run.state,
            },
            "plan": [result.case.id for result in found.cases],
            "without_latency": [_extra(result) for result in found.cases if not _timed(result)],
        },
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read(fields: Fields) -> Recorded:
    """Returns the run that we once wrote as such a file.

    Raises:
        InputError: something in it is missing or wrong.
    """
    ours = fields.fields(OURS)
    if ours.whole("form") != FORM:
        ours.refuse(f"form {ours.whole('form')}, this program reads form {FORM}: use a newer softmoe-bench")
    of = ours.fields("run")
    run = Run(
        id=of.run_id("id"),
        name=of.text("name"),
        grid=of.text("grid"),
        description=of.text("description"),
        command=of.text("command"),
        settings=of.plain("settings"),
        environment=Environment(fields.fields("machine_info").plain(OURS), of.informational("informational")),
        started=of.moment("started"),
        finished=of.moment("finished") if of.has("finished") else None,
        state="complete" if of.text("state") == "complete" else "interrupted",
    )
    found: dict[Case, list[Outcome]] = {}
    for benchmark in fields.each("benchmarks"):
        extra = benchmark.fields("extra_info")
        case = extra.case("axes", extra.text("case"))
        found[case] = _processes(extra, case, benchmark.fields("stats").times("data"))
    for extra in ours.each("without_latency"):
        case = extra.case("axes", extra.text("case"))
        found[case] = _processes(extra, case, [])
    order = {id_: i for i, id_ in enumerate(ours.texts("plan"))}
    cases = sorted(found, key=lambda case: order.get(case.id, len(order)))
    outcomes = tuple(o for case in cases for o in found[case])
    return checked(Recorded(run, tuple(map(Planned, cases)), outcomes), fields)


def _timed(result: CaseResult) -> bool:
    """Returns whether a case has a latency."""
    return any(outcome.samples("latency") for outcome in result.outcomes)


def _machine(environment: Environment) -> dict[str, Any]:
    """Returns what pytest-benchmark and its readers look for of a machine, and all that must agree to compare."""
    comparable, informational = environment.comparable, environment.informational
    system, _, machine = str(comparable.get("system") or "").partition(" ")
    python, _, version = str(comparable.get("python") or "").partition(" ")
    return {
        "node": informational.get("host") or "",
        "processor": machine,
        "machine": machine,
        "python_implementation": python,
        "python_version": version,
        "release": informational.get("kernel") or "",
        "system": system,
        "cpu": {"brand_raw": comparable.get("cpu") or "", "count": comparable.get("cores_usable")},
        OURS: dict(comparable),
    }


def _benchmark(result: CaseResult) -> dict[str, Any]:
    """Returns a case that has a latency as one benchmark, over the samples of all its processes."""
    from pytest_benchmark.stats import Stats  # noqa: PLC0415

    stats = Stats()  # type: ignore[no-untyped-call]
    for outcome in result.outcomes:
        for seconds in outcome.samples("latency"):
            stats.update(seconds)  # type: ignore[no-untyped-call]
    name = stable_name(result.case)
    iterations = {outcome.facts.get("iterations") for outcome in result.outcomes if outcome.samples("latency")}
    return {
        "group": name,
        "name": name,
        "fullname": f"softmoe-bench::{name}",
        "params": dict(result.case),
        "param": result.case.id,
        "extra_info": _extra(result),
        "options": {},
        "stats": {
            **stats.as_dict(),  # type: ignore[no-untyped-call]
            "data": stats.data,
            "iterations": next(iter(iterations)) if len(iterations) == 1 and None not in iterations else 1,
        },
    }


def _extra(result: CaseResult) -> dict[str, Any]:
    """Returns what our fixture, too, says of a case, and each process without its latencies."""
    cost = layers.cost(result.case)
    return {
        "case": result.case.id,
        "axes": dict(result.case),
        "flops": None if cost is None else cost.useful_flops,
        "processes": [_process(outcome) for outcome in result.outcomes],
    }


def _process(outcome: Outcome) -> dict[str, Any]:
    """Returns one process without its latencies, of which only the number is told."""
    return {
        "repeat": outcome.repeat,
        "samples": len(outcome.samples("latency")),
        "status": outcome.status.value,
        "detail": outcome.detail,
        "flags": [[flag.code, flag.detail] for flag in outcome.flags],
        "iterations": outcome.facts.get("iterations"),
        "started": outcome.started,
        "finished": outcome.finished,
        "observations": [
            {"metric": o.metric, "unit": o.unit, "samples": list(o.samples)}
            for o in outcome.observations
            if o.metric != "latency"
        ],
    }


def _processes(extra: Fields, case: Case, data: Sequence[float]) -> list[Outcome]:
    """Returns the outcomes of a case, its latencies shared out among them."""
    processes = list(extra.each("processes"))
    ends = list(accumulate((process.whole("samples") for process in processes), initial=0))
    if ends[-1] != len(data):
        extra.refuse(f"its processes took {ends[-1]} samples, but there are {len(data)}")
    found = []
    for process, (start, end) in zip(processes, pairwise(ends), strict=True):
        latency = (Observation("latency", "s", tuple(data[start:end])),) if end > start else ()
        others = tuple(
            Observation(seen.text("metric"), seen.text("unit"), tuple(seen.samples("samples")))
            for seen in process.each("observations")
        )
        found.append(
            Outcome(
                case_id=case.id,
                repeat=process.whole("repeat"),
                status=process.status("status"),
                detail=process.text("detail"),
                flags=_flags(process),
                observations=tuple(sorted((*latency, *others), key=lambda seen: seen.metric)),
                facts={"iterations": process.whole("iterations")} if process.has("iterations") else {},
                started=process.moment("started"),
                finished=process.moment("finished"),
            )
        )
    if len({outcome.repeat for outcome in found}) < len(found):
        extra.refuse("a process is there twice")
    return found


def _flags(process: Fields) -> tuple[Flag, ...]:
    """Returns the caveats of a process."""
    rows = process.sequence("flags")
    if not all(isinstance(row, list) and len(row) == 2 and str(row[0]) in caveats.TABLE for row in rows):
        process.refuse("'flags' needs a list of [caveat, detail] with caveats that there are")
    return tuple(Flag(str(code), str(detail)) for code, detail in rows)
