"""Where it was measured: facts that must agree for a comparison, and facts that inform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from bench.report import blocks, view
from bench.report.blocks import Column, Table
from bench.report.facts import fact, fact_name
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.results import RunResults


def build(runs: Sequence[RunResults]) -> Section:
    """Returns a column of facts per run."""
    where = [found.run.environment for found in runs]
    prints = [Markup("<code>{}</code>").format(place.fingerprint) for place in where]
    same = len({place.fingerprint for place in where}) == 1
    says = (
        "agree, so these runs may be compared"
        if same
        else "differ, so no change of code can be judged between these runs"
    )
    parts = [
        blocks.paragraph(
            Markup("Fingerprint of the comparable facts: {}.{}").format(
                Markup(", ").join(prints), f" They {says}." if len(runs) > 1 else ""
            )
        ),
        _facts("Facts that must agree for a comparison", runs, lambda found: found.run.environment.comparable),
        _facts("Facts for the reader, at the start of the run", runs, _flat),
        _facts("Packages", runs, lambda found: _part(found, "packages")),
        _facts("Git of the folder the run was started in", runs, lambda found: _part(found, "git")),
    ]
    parts += [_facts(f"GPU {i}", runs, _gpu(i)) for i in range(max(len(_gpus(found)) for found in runs))]
    return Section("environment", "Environment", blocks.merge(parts))


def _facts(title: str, runs: Sequence[RunResults], get: Callable[[RunResults], Mapping[str, object]]) -> Markup:
    """Returns a table of facts, nothing where no run has any."""
    columns = [get(found) for found in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    if not names:
        return Markup("")
    heads = view.run_names(runs) if len(runs) > 1 else ["value"]
    rows = [[fact_name(name), *(fact(name, column.get(name)) for column in columns)] for name in names]
    table = Table([Column("fact"), *(Column(head) for head in heads)], rows, title)
    return Markup('{}<div class="facts">{}</div>').format(blocks.heading(title), blocks.table(table))


def _flat(found: RunResults) -> dict[str, object]:
    """Returns the informational facts that are no table of their own."""
    return {
        name: value
        for name, value in found.run.environment.informational.items()
        if name not in {"packages", "git", "gpus"}
    }


def _part(found: RunResults, name: str) -> Mapping[str, object]:
    """Returns one table of the informational facts, empty where it is missing."""
    part = found.run.environment.informational.get(name)
    return part if isinstance(part, dict) else {}


def _gpus(found: RunResults) -> Sequence[Mapping[str, object]]:
    """Returns the GPUs of a run."""
    listed = found.run.environment.informational.get("gpus")
    return [gpu for gpu in listed if isinstance(gpu, dict)] if isinstance(listed, list | tuple) else []


def _gpu(number: int) -> Callable[[RunResults], Mapping[str, object]]:
    """Returns what reads the facts of one GPU."""
    return lambda found: _gpus(found)[number] if number < len(_gpus(found)) else {}
