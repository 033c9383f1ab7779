"""Sessions of pytest-benchmark, measured by our `softmoe` fixture, as runs: every session is one process of it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from bench.environment import differences
from bench.errors import NotComparableError
from bench.exchange.pytest_json import OURS
from bench.exchange.reading import Fields
from bench.exchange.record import Recorded, checked, in_order
from bench.records import Environment, Observation, Outcome, Planned, Run, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records import Case


def is_one(fields: Fields) -> bool:
    """Returns whether pytest-benchmark itself wrote a file."""
    return isinstance(fields.content.get("benchmarks"), list) and "machine_info" in fields.content


def read(sessions: Sequence[Fields], name: str) -> tuple[Recorded, list[str]]:
    """Returns one run of several sessions, and the tests in them that measured no case.

    A test belongs to a case if our fixture measured in it. Two tests of one case in one session are one process.

    Raises:
        InputError: no test in a file measured a case, or something in it is missing or wrong.
        NotComparableError: the sessions were made on machines that differ.
    """
    comparable = _machine(sessions[0])
    found: dict[Case, dict[int, list[float]]] = {}
    strangers: list[str] = []
    for repeat, session in enumerate(sessions, 1):
        if differ := differences(comparable, _machine(session)):
            facts = "; ".join(f"{fact} is {a} against {b}" for fact, a, b in differ)
            raise NotComparableError(f"{sessions[0].where} and {session.where} are no processes of one run: {facts}")
        tests = list(session.each("benchmarks"))
        measured = [test for test in tests if _says_case(test)]
        if not measured:
            session.refuse(
                f"none of its {len(tests)} tests says which case it measured, so that nothing is known of the layer:"
                " use the `softmoe` fixture in them, which writes it into extra_info"
            )
        strangers += [test.text("fullname") for test in tests if not _says_case(test)]
        for test in measured:
            extra = test.fields("extra_info")
            if extra.has("measured_in") and extra.text("measured_in") == "fresh processes":
                test.refuse(
                    "its samples are of several processes, which are not told apart here: the session kept them in its"
                    " --softmoe-store, use that or an export of it"
                )
            case = extra.case("axes", extra.text("case"))
            found.setdefault(case, {}).setdefault(repeat, []).extend(_data(test.fields("stats")))
    texts = [json.dumps(session.content, sort_keys=True) for session in sessions]
    started = min(session.date("datetime") for session in sessions)
    run = Run(
        id=hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()[:12],
        name=name,
        grid="pytest",
        description="Measured by pytest-benchmark in tests with the softmoe fixture.",
        command="pytest",
        settings={"repeats": len(sessions)},
        environment=Environment(comparable, _commit(sessions[0])),
        started=started,
        finished=max(session.date("datetime") for session in sessions),
        state="complete",
    )
    cases = in_order(list(found))
    outcomes = [
        Outcome(
            case.id,
            repeat,
            Status.OK,
            observations=(Observation("latency", "s", tuple(samples)),),
            started=started,
            finished=started,
        )
        for case in cases
        for repeat, samples in found[case].items()
    ]
    recorded = Recorded(run, tuple(map(Planned, cases)), tuple(outcomes))
    return checked(recorded, sessions[0]), list(dict.fromkeys(strangers))


def _says_case(test: Fields) -> bool:
    """Returns whether our fixture measured in a test."""
    return test.has("extra_info") and test.fields("extra_info").has("case")


def _machine(session: Fields) -> dict[str, Any]:
    """Returns what must agree to compare, which our plugin tells."""
    facts = session.fields("machine_info")
    return facts.plain(OURS) if facts.has(OURS) else {}


def _data(stats: Fields) -> list[float]:
    """Returns the samples of a test; pytest-benchmark keeps them only if asked, and its median always."""
    found = stats if stats.has("data") else Fields(stats.where, {"data": [stats.number("median")]})
    return found.times("data")


def _commit(session: Fields) -> dict[str, Any]:
    """Returns the facts that a session tells for the reader of a report."""
    commit = session.plain("commit_info") if session.has("commit_info") else {}
    git = {"commit": commit.get("id"), "branch": commit.get("branch"), "dirty": commit.get("dirty")}
    known = commit.get("id") not in (None, "unversioned", "unknown")
    return {"date": session.text("datetime"), **({"git": git} if known else {})}
