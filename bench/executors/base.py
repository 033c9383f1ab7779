"""The contract of an executor, and how a worker's written result becomes an outcome."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from bench import caveats
from bench.records import Ceiling, Flag, Observation, Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records import Task

DETAIL = 20_000
"""Most characters of an outcome's detail; an exception's text may have any length."""


@dataclass(frozen=True)
class Probe:
    """What a worker says before anything is measured: devices, torch's facts, layers that cannot be reached.

    `gpu` is the UUID of the device that cases on cuda use, None without one.
    """

    devices: tuple[str, ...] = ("cpu",)
    comparable: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    gpu: str | None = None


class Executor(Protocol):
    """Carries out tasks one at a time; everything that can go wrong in one is its outcome.

    `run` raises `WorkerError` only when no worker can be started at all, and lets KeyboardInterrupt through after the
    worker is gone.
    """

    def __enter__(self) -> Self:
        """Makes ready."""

    def __exit__(self, *exception: object) -> None:
        """Leaves no process and no file behind."""

    def probe(self, targets: Sequence[str]) -> Probe:
        """Returns what this machine's worker can do and which of the import targets it cannot reach."""

    def run(self, task: Task) -> Outcome:
        """Returns the outcome of one task."""

    def calibrate(self, device: str, seconds: float) -> tuple[Ceiling, ...]:
        """Returns what a device reaches at best; each figure takes about so many seconds.

        Raises:
            WorkerError: it could not be measured.
        """


def ceilings(result: Mapping[str, Any]) -> tuple[Ceiling, ...]:
    """Returns the ceilings that a worker's result describes."""
    return tuple(Ceiling(**{**found, "samples": tuple(found["samples"])}) for found in result["ceilings"])


class BrokenResultError(ValueError):
    """What a worker left is no result; the text says what is wrong with it."""


def outcome(task: Task, result: object) -> Outcome:
    """Returns the outcome that a worker's result describes.

    Raises:
        BrokenResultError: it describes none; a layer can do anything to the process that it runs in.
    """
    fields = _mapping(result, "the result")
    facts = _mapping(fields.get("facts", {}), "facts")
    observations = tuple(_observation(o) for o in _list(fields.get("observations", []), "observations"))
    if len({o.metric for o in observations}) < len(observations):
        raise BrokenResultError("a metric is there twice")
    return Outcome(
        case_id=task.case.id,
        repeat=task.repeat,
        status=_status(fields.get("status")),
        detail=printable(_text(fields.get("detail"), "detail")),
        flags=tuple(_flag(f) for f in _list(fields.get("flags", []), "flags")),
        observations=observations,
        facts=_finite(facts),
        started=_number(fields.get("started"), "started"),
        finished=_number(fields.get("finished"), "finished"),
    )


def printable(text: str) -> str:
    """Returns a text that every store takes, at most its last DETAIL characters."""
    whole = text.encode("utf-8", errors="replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return whole if len(whole) <= DETAIL else f"[...] {whole[-DETAIL:]}"


def _status(value: object) -> Status:
    """Returns a status by its word."""
    words = [status.value for status in Status]
    if value not in words:
        raise BrokenResultError(f"its status is {shorten(value)}, expected one of {', '.join(words)}")
    return Status(value)


def _observation(value: object) -> Observation:
    """Returns one observation with its samples as they are."""
    fields = _mapping(value, "an observation")
    metric = _text(fields.get("metric"), "the name of a metric")
    samples = _list(fields.get("samples"), f"the samples of {metric}")
    return Observation(
        metric,
        _text(fields.get("unit"), f"the unit of {metric}"),
        tuple(_number(sample, f"a sample of {metric}") for sample in samples),
    )


def _flag(value: object) -> Flag:
    """Returns one caveat, which has to be in the closed list."""
    fields = _mapping(value, "a flag")
    code = _text(fields.get("code"), "the code of a flag")
    if code not in caveats.TABLE:
        raise BrokenResultError(f"there is no caveat {shorten(code)}")
    return Flag(code, printable(_text(fields.get("detail"), "the detail of a flag")))


def _finite(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns facts without numbers that JSON has no words for."""
    try:
        json.dumps(facts, allow_nan=False)
    except ValueError:
        raise BrokenResultError("a fact is not a finite number") from None
    return facts


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    """Returns a value that has to be a JSON object."""
    if not isinstance(value, dict):
        raise BrokenResultError(f"{what} is {shorten(value)}, expected an object")
    return value


def _list(value: object, what: str) -> list[Any]:
    """Returns a value that has to be a JSON array."""
    if not isinstance(value, list):
        raise BrokenResultError(f"{what} are {shorten(value)}, expected an array")
    return value


def _text(value: object, what: str) -> str:
    """Returns a value that has to be a text."""
    if not isinstance(value, str):
        raise BrokenResultError(f"{what} is {shorten(value)}, expected a text")
    return value


def _number(value: object, what: str) -> float:
    """Returns a value that has to be a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise BrokenResultError(f"{what} is {shorten(value)}, expected a finite number")
    return value


def shorten(value: object) -> str:
    """Returns a value for a message, which it may not fill."""
    words = repr(value)
    return words if len(words) <= 40 else f"{words[:40]}..."
