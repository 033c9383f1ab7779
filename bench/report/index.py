"""A page over many runs, newest first, with the report of each beside it: a folder that can be published as it is."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from markupsafe import Markup

import bench
from bench import __version__, files, history, units
from bench.records import FAILED, Status
from bench.report import blocks, naming, page
from bench.report.blocks import Column, Table
from bench.report.facts import device
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bench.results import RunResults

GENERATOR = '<meta name="generator" content="softmoe-bench'
"""What every page of ours has in its head."""

COLUMNS = (
    Column("run"),
    Column("date", hint="when it began, UTC"),
    Column("device"),
    Column("grid"),
    Column("cases", number=True),
    Column("ok", number=True),
    Column("failed", number=True),
    Column("took", number=True),
    Column("commit", hint="of the folder that the run was started in; + had changes that no commit has"),
    Column("baseline", hint="names that stand for the run in the store"),
    Column("state"),
)
LONGEST = 40
"""Characters of a cell, so that a table of a dozen columns can be read."""

MADE = re.compile(r'href="[^"]*/([\w-]+\.html)" data-made="([0-9a-f]{16})"')
"""How a row names the report of its run, and what that report was made from."""


@dataclass(frozen=True)
class Listed:
    """A run as its row has it: where its report is, a digest of all that the report is made from, and the cells."""

    file: str
    digest: str
    cells: tuple[str | Markup, ...]


def write(runs: Iterable[RunResults], path: Path, baselines: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """Writes the index and the reports; yields each report's path and whether it was made anew.

    `runs` come newest first, one at a time, so that not all need be in memory; `baselines` are names to ids of runs.
    The folder of the reports must be there. A report is left as it is where the index says that it was made from the
    same run by the same program.
    """
    beside = path.with_name(reports(path))
    made = dict(MADE.findall(path.read_text(encoding="utf-8", errors="replace"))) if path.is_file() else {}
    listed = []
    for found in runs:
        names = sorted(name for name, id_ in baselines.items() if id_ == found.run.id)
        row = _row(found, names, beside.name)
        listed.append(row)
        report = beside / row.file
        stale = not report.is_file() or made.get(row.file) != row.digest
        if stale:
            page.write([found], report)
        yield str(report), stale
    files.write(path, render(listed))


def reports(path: Path) -> str:
    """Returns the name of the folder beside an index in which the reports of its runs are."""
    return f"{path.stem}-runs"


def render(listed: Sequence[Listed]) -> str:
    """Returns the page over some runs."""
    count = naming.count(len(listed), "run")
    table = Table(COLUMNS, [row.cells for row in listed], f"{count[:1].upper()}{count[1:]}, newest first")
    body = blocks.table(table) if listed else blocks.paragraph("The store has no run yet.")
    return page.of_sections("Runs – softmoe-bench", count, [Section("runs", "Runs", body)])


def ours(path: Path) -> bool:
    """Whether a file is a page that softmoe-bench wrote."""
    with path.open(encoding="utf-8", errors="replace") as opened:
        return GENERATOR in opened.read(4000)


def _row(found: RunResults, baselines: Sequence[str], folder: str) -> Listed:
    """Returns the row of a run."""
    run = found.run
    file, digest = f"{_file(run.id)}.html", digest_of(found)
    git = run.environment.informational.get("git")
    dirty = "+" if isinstance(git, dict) and git.get("dirty") else ""
    called = naming.line(run.name, LONGEST) or run.id
    name = Markup('<a href="{}/{}" data-made="{}">{}</a>').format(quote(folder), file, digest, called)
    failed = sum(found.count(status) for status in FAILED)
    cells = (
        name,
        _day(run.started),
        naming.shorten(device(found), LONGEST),
        _grid(found),
        str(len(found.cases)),
        str(found.count(Status.OK)),
        str(failed),
        units.UNKNOWN if run.finished is None else units.format_duration(run.finished - run.started),
        naming.line(history.commit(run) + dirty) or units.UNKNOWN,
        ", ".join(naming.line(each, LONGEST) for each in baselines),
        blocks.badge(naming.line(run.state, LONGEST), "good" if run.state == "complete" else "bad"),
    )
    return Listed(file, digest, cells)


def _day(seconds: float) -> str:
    """Returns a moment so that the order of the texts is that of the moments, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def _file(run_id: str) -> str:
    """Returns the name of a run's report: its id, which of a run from elsewhere may be anything."""
    return run_id if re.fullmatch(r"[0-9a-f]{6,64}", run_id) else hashlib.sha256(run_id.encode()).hexdigest()[:12]


def _grid(found: RunResults) -> str:
    """Returns the name of the grid, the start of the text where it has none."""
    named = re.search(r'^\s*name\s*=\s*"([^"\n]*)"', found.run.grid, re.MULTILINE)
    return naming.line(named[1] if named else found.run.grid, 40) or units.UNKNOWN


def digest_of(found: RunResults) -> str:
    """Returns 16 hexadecimal digits over all that a run's report is made from: what is on record, and this program."""
    record = hashlib.sha256(_program().encode())
    record.update(repr(found.run).encode("utf-8", "replace"))
    for result in found.cases:
        record.update(repr((result.case.id, result.outcomes, result.ceilings)).encode("utf-8", "replace"))
    return record.hexdigest()[:16]


@lru_cache(maxsize=1)
def _program() -> str:
    """Returns a digest of this package: an installation that is edited in place keeps its version."""
    folder = Path(bench.__file__).parent
    record = hashlib.sha256(__version__.encode())
    for path in sorted(path for path in folder.rglob("*") if path.suffix in {".py", ".html", ".css", ".js", ".toml"}):
        record.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return record.hexdigest()
