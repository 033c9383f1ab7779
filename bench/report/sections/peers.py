"""Other people's layers: what each computes, whether its output is ours, and only then how fast it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import layers, units
from bench.report import blocks, cells, findings, naming, view
from bench.report.blocks import Column, Table
from bench.report.facts import fact
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.layers import Package
    from bench.report.cells import Content
    from bench.report.view import Entry
    from bench.results import RunResults

ANOTHER = "computes another function"
COLUMNS = (
    Column("case"),
    Column("output", choice=True),
    Column("largest error", number=True, hint="against our layer in float64, with the same weights", unit="abs"),
    Column("our layer"),
    Column("time, theirs / ours", number=True, hint="of latencies, paired by rounds; above 1 ours is faster"),
    Column("95 % interval", number=True, hint="of that ratio, over processes", ends=True),
    Column("peak memory, theirs / ours", number=True, hint="of the one process of each that was inspected"),
    Column("remark", long=True),
)
PACKAGE_COLUMNS = (
    Column("layer"),
    Column("package"),
    Column("version", hint="that was measured"),
    Column("the same as"),
    Column("what it computes differently", long=True),
    Column("to install the version that was checked"),
)


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns every case of a layer from another package, or None without any."""
    seen = view.of(runs)
    found = [(entry, package) for entry in seen.entries if (package := layers.package(entry.case["layer"]))]
    if not found:
        return None
    rows = [_row(entry, package, seen.entries) for entry, package in found]
    parts = [
        blocks.paragraph(
            "Installed packages, called as they are. Time and memory are compared only where the output agrees, as far "
            "as the number format allows, with a layer of ours that was given the same weights; gradients are not "
            "compared here. Ratios are theirs over ours within one run: above 1 ours is faster or smaller."
        ),
        blocks.table(Table(COLUMNS, rows, "Layers of other packages beside ours")),
        blocks.table(Table(PACKAGE_COLUMNS, _packages(found), "What the packages compute")),
    ]
    return Section("peers", "Layers of other packages", blocks.merge(parts))


def _row(entry: Entry, package: Package, entries: Sequence[Entry]) -> list[Content]:
    """Returns the cells of one case; ratios only where its output agrees with a layer of ours."""
    error = cells.figure(entry.figure("max_abs_error"))
    output, ours, remark = _judged(entry, package, entries)
    if ours is None:
        return [entry.full, output, error, *[units.UNKNOWN] * 4, remark]
    pairing = findings.ratio(ours, entry)
    peaks = entry.value("peak_memory"), ours.value("peak_memory")
    return [
        entry.full,
        output,
        error,
        ours.short,
        cells.ratio(pairing.interval.estimate if pairing else None),
        cells.times(pairing.interval if pairing else None),
        cells.ratio(peaks[0] / peaks[1] if peaks[0] and peaks[1] else None),
        _remark(pairing),
    ]


def _judged(entry: Entry, package: Package, entries: Sequence[Entry]) -> tuple[str, Entry | None, str]:
    """Returns what can be said of the output, our case to compare it with or None, and why there is none."""
    if package.matches is None:
        return ANOTHER, None, ""
    if not entry.ok:
        return "not checked", None, f"{naming.STATUSES[entry.result.status]}; see Failures"
    if findings.is_wrong(entry):
        return "differs", None, "not compared: its output is not that of our layer"
    if entry.figure("max_abs_error") is None:
        return "not checked", None, "not compared: its output was not checked"
    ours = [other for other in entries if _is_twin(entry, other, package)]
    if not ours:
        return "agrees", None, "our layer has no good result beside it"
    return "agrees", findings.best(ours), ""


def _is_twin(entry: Entry, other: Entry, package: Package) -> bool:
    """Whether the other case, of the same run, is ours and computes the same function of the same tokens."""
    if other.number != entry.number or not other.ok or findings.is_wrong(other):
        return False
    shared = {name: value for name, value in entry.case.items() if name in other.case and name != "backend"}
    wanted = {**shared, **(package.matches or {})}
    return all(name in other.case and other.case[name] == value for name, value in wanted.items())


def _remark(pairing: findings.Pairing | None) -> str:
    """Returns what keeps a ratio of times from being a claim."""
    if pairing is None:
        return "never timed in the same round"
    if pairing.busy:
        return "nothing is claimed: other programs used the machine"
    if pairing.interval.low is None:
        return "a single round: too few for a claim"
    return "" if pairing.differs else "cannot be told apart in time"


def _packages(found: Sequence[tuple[Entry, Package]]) -> list[list[str]]:
    """Returns a row for each layer: what it computes differently, and which versions were measured."""
    rows = []
    for name, package in {str(entry.case["layer"]): package for entry, package in found}.items():
        versions = dict.fromkeys(_version(entry.run, package) for entry, other in found if other is package)
        words = (", ".join(versions), _same_as(package), package.differs, package.install)
        rows.append([layers.TABLE[name].title, package.name, *words])
    return rows


def _same_as(package: Package) -> str:
    """Returns the layer of ours that computes the same function, in words."""
    if package.matches is None:
        return "none of ours"
    form = naming.words(package.matches, [name for name in package.matches if name != "layer"])
    return f"{layers.TABLE[str(package.matches['layer'])].title}, {form}"


def _version(found: RunResults, package: Package) -> str:
    """Returns the version that a run measured, a dash where it is not on record."""
    packages = found.run.environment.informational.get("packages")
    return fact("version", packages.get(package.name) if isinstance(packages, dict) else None)
