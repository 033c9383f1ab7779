"""What a claim is: a sentence of a paper, how it is checked here, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from bench import plan
from bench.records import Case, Status, reason
from bench.stats import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bench.results import CaseResult, RunResults


class Verdict(StrEnum):
    """What a check came to."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    CANNOT = "cannot be checked here"


@dataclass(frozen=True)
class Line:
    """One figure of the paper beside ours, in a base unit; None where the paper gives none, or where we have none."""

    what: str
    paper: float | None
    ours: Interval | None
    unit: str


@dataclass(frozen=True)
class Curve:
    """One series of a chart: places along with figures, dashed where it is the paper's."""

    name: str
    points: tuple[tuple[float, Interval], ...]
    of_paper: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves over an axis, in a base unit."""

    title: str
    along: str
    up: str
    unit: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Finding:
    """What a check came to: a verdict, the answer in sentences with its figures, and what shows it."""

    verdict: Verdict
    words: str
    lines: tuple[Line, ...] = ()
    charts: tuple[Chart, ...] = ()


@dataclass(frozen=True)
class Ask:
    """What a check measures: `[[sweep]]` tables of a grid, studies that run once, and which of both are not timed.

    Of sweeps with `timed` false only the inspection is done: drop rates, FLOPs, memory.
    """

    sweeps: tuple[Mapping[str, Any], ...] = ()
    studies: tuple[Case, ...] = ()
    timed: bool = True


@dataclass(frozen=True)
class Claim:
    """One claim of a paper.

    `text` is the claim in our words, `source` where it stands, `how` how it is checked. `minutes` is what the check
    takes on two CPU cores, full and fast. `ask` returns what is measured (fast or not), `judge` what it comes to.
    `expected` is what the check came to where it was last looked at: a claim that was reproduced and no longer is
    fails the command.
    """

    name: str
    text: str
    source: str
    how: str
    minutes: tuple[float, float]
    expected: Verdict
    judge: Callable[[Measured], Finding]
    ask: Callable[[bool], Ask] = lambda _fast: Ask()


@dataclass(frozen=True)
class Measured:
    """What a run found, for those who judge: cases by some of their axes; `fast` as it was asked for."""

    cases: tuple[CaseResult, ...] = ()
    fast: bool = False

    def all(self, **axes: object) -> list[CaseResult]:
        """Returns the cases that have all these values; study cases only where `study` is among them."""
        wanted = {"study": None, **axes}
        return [found for found in self.cases if all(found.case.get(name) == value for name, value in wanted.items())]

    def one(self, **axes: object) -> CaseResult:
        """Returns the case that has all these values.

        Raises:
            Unknown: there is none or it did not end well; its text says why.
            ValueError: there are several.
        """
        found = self.all(**axes)
        if len(found) > 1:
            raise ValueError(f"{len(found)} cases have {axes}")
        if not found:
            raise Unknown(f"no case has {', '.join(f'{name}={value}' for name, value in axes.items())}")
        if found[0].status is not Status.OK:
            status, detail = found[0].status, found[0].detail
            raise Unknown("not measured" if status is None else f"{status.value}: {reason(status, detail)}")
        return found[0]

    def figure(self, metric: str, **axes: object) -> Interval:
        """Returns a metric of the case that has all these values.

        Raises:
            Unknown: as for `one`, or the case has no such figure.
        """
        case = self.one(**axes)
        if metric not in case.figures:
            raise Unknown(f"{metric} is unknown")
        return case.figures[metric].interval

    def samples(self, metric: str, **axes: object) -> tuple[float, ...]:
        """Returns the samples that a study found.

        Raises:
            Unknown: as for `figure`.
        """
        found = [sample for outcome in self.one(**axes).outcomes for sample in outcome.samples(metric)]
        if not found:
            raise Unknown(f"{metric} is unknown")
        return tuple(found)


class Unknown(Exception):  # noqa: N818  (not an error: the claim cannot be checked here)
    """A figure that a judgement needs is not there."""


@dataclass(frozen=True)
class Judged:
    """A claim with what its check came to."""

    claim: Claim
    finding: Finding

    @property
    def fallen(self) -> bool:
        """Whether it held where it was last looked at, and does not here."""
        return self.claim.expected is Verdict.REPRODUCED and self.finding.verdict is Verdict.NOT_REPRODUCED


def study(name: str, layer: str, **axes: object) -> Case:
    """Returns the case of a study: a layer with its axes, on the CPU, looked at in one process and never timed."""
    return plan.single(layer, {"device": "cpu", **axes}).with_axes(study=name)


def judge(claims: Iterable[Claim], found: RunResults, *, fast: bool) -> list[Judged]:
    """Returns what claims come to by a run that measured what they ask."""
    measured = Measured(found.cases, fast)
    judged = []
    for claim in claims:
        try:
            finding = claim.judge(measured)
        except Unknown as error:
            finding = Finding(Verdict.CANNOT, f"Cannot be checked here: {error}.")
        judged.append(Judged(claim, finding))
    return judged


def exact(value: float) -> Interval:
    """Returns a figure that is computed, not measured, or that comes from one process."""
    return Interval(value, None, None, 1)
