"""What was asked and what was found: frozen records, and the history of their stored form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import ItemsView, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from typing import Any

from bench.axes import AXES, AxisValue

SCHEMA = {
    1: "November 2026: runs, plans, cases, outcomes, observations (samples as JSON), baselines",
    2: "November 2026: ceilings measured by `calibrate`, per machine; runs count upwards, so that no clock orders them",
    3: "November 2026: medians of each process beside its samples, so that comparing does not read those",
}
"""Every version of the stored form, with what it brought."""

SCHEMA_VERSION = max(SCHEMA)

INSPECTION = 0
"""The repeat in which memory, FLOPs, routing and accuracy are looked at; later repeats measure time only."""


class Status(StrEnum):
    """How a case ended."""

    OK = "ok"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"
    ERROR = "error"
    CRASHED = "crashed"
    SKIPPED = "skipped"


FAILED = (Status.OUT_OF_MEMORY, Status.TIMEOUT, Status.ERROR, Status.CRASHED)
"""Ends that a user did not ask for; `skipped` and `unsupported` carry a reason that was known beforehand."""


def reason(status: Status, detail: str) -> str:
    """Returns why a case ended as it did, in one line: of a traceback the last, of anything else the first."""
    lines = detail.strip().splitlines()
    if not lines:
        return "no detail"
    return lines[-1] if status is Status.ERROR else lines[0]


@dataclass(frozen=True)
class Case(Mapping[str, AxisValue]):
    """One point of a grid: a frozen mapping of axes, nothing about machine or run.

    `id` is 16 hexadecimal digits of the SHA-256 of its canonical JSON, so that the same case has the same id in
    every run and on every machine. An axis that a layer was given later is left out while at its default: cases in
    stores, which were made without it, keep their ids.
    """

    axes: Mapping[str, AxisValue]
    id: str = field(init=False)

    def __post_init__(self) -> None:
        """Freezes the axes in sorted order and derives the id."""
        ordered = {name: self.axes[name] for name in sorted(self.axes) if not _came_later(name, self.axes[name])}
        text = json.dumps(ordered, separators=(",", ":"), allow_nan=False)
        object.__setattr__(self, "axes", ordered)
        object.__setattr__(self, "id", hashlib.sha256(text.encode()).hexdigest()[:16])

    def __getitem__(self, name: str) -> AxisValue:
        return self.axes[name]

    def __contains__(self, name: object) -> bool:
        return name in self.axes

    def __iter__(self) -> Iterator[str]:
        return iter(self.axes)

    def items(self) -> ItemsView[str, AxisValue]:
        """Returns the axes with their values."""
        return self.axes.items()

    def __len__(self) -> int:
        return len(self.axes)

    def __hash__(self) -> int:
        return hash(self.id)

    def with_axes(self, **changes: AxisValue) -> Case:
        """Returns the case with some axes set to other values."""
        return Case({**self.axes, **changes})


def _came_later(name: str, value: AxisValue) -> bool:
    """Returns whether this is the default of an axis that cases in older stores do not have."""
    axis = AXES.get(name)
    return axis is not None and axis.later and value == axis.default


@dataclass(frozen=True)
class Observation:
    """Raw samples of one metric in base units; only what was observed, derived figures are made on reading."""

    metric: str
    unit: str
    samples: tuple[float, ...]


@dataclass(frozen=True)
class Flag:
    """A caveat that applies to an outcome: its code in the closed list of `bench.caveats`, and the facts."""

    code: str
    detail: str = ""


@dataclass(frozen=True)
class Environment:
    """Where something was measured: facts that must agree for a comparison, and facts that inform."""

    comparable: Mapping[str, Any] = field(default_factory=dict)
    informational: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits over the comparable facts."""
        text = json.dumps(dict(self.comparable), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Ceiling:
    """The best that a device was measured to do: samples of the way that was fastest by its median, and which it was.

    `what` is a number format (FLOP/s of its products), `bandwidth` (B/s of memory, bytes read and written) or `cache`
    (B, the size of the caches closest to memory). `disturbed` says what else used the machine meanwhile: such a ceiling
    is too low, and never kept.
    """

    device: str
    what: str
    unit: str
    samples: tuple[float, ...]
    detail: str = ""
    disturbed: str = ""

    @property
    def value(self) -> float:
        """The median of the samples."""
        return median(self.samples)


@dataclass(frozen=True)
class Outcome:
    """What became of one repeat of a case; `detail` holds the reason or the last lines of the worker's log.

    Times are seconds since the epoch.
    """

    case_id: str
    repeat: int
    status: Status
    detail: str = ""
    flags: tuple[Flag, ...] = ()
    observations: tuple[Observation, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    started: float = 0.0
    finished: float = 0.0

    def samples(self, metric: str) -> tuple[float, ...]:
        """Returns the raw samples of a metric, empty if it was not observed."""
        return next((o.samples for o in self.observations if o.metric == metric), ())


@dataclass(frozen=True)
class Planned:
    """A case in the order of the plan; `skip` says why it will not be measured."""

    case: Case
    skip: str | None = None


@dataclass(frozen=True)
class Settings:
    """What a measurement is told; seconds throughout.

    A process samples until the median's interval is narrower than `half_width` (relative, half of it) with at least
    `min_samples`, or until `max_seconds`; one that takes longer than `timeout` altogether is ended. `seed` orders the
    rounds. `thresholds` are those of the grid, for whoever compares.
    """

    repeats: int = 5
    max_seconds: float = 1.0
    timeout: float = 300.0
    half_width: float = 0.01
    min_samples: int = 10
    seed: int = 0
    thresholds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One repeat of a case for a worker; `target` and `oracle` are import strings, `keywords` the target's axes."""

    case: Case
    repeat: int
    target: str
    keywords: tuple[str, ...]
    oracle: str | None
    settings: Settings


@dataclass(frozen=True)
class Run:
    """One execution on record: what was asked, where and when.

    `command` is the command line, `settings` what the measurement was told, `state` is running, complete or
    interrupted.
    """

    id: str
    name: str
    grid: str
    description: str
    command: str
    settings: Mapping[str, Any]
    environment: Environment
    started: float
    finished: float | None = None
    state: str = "running"
