"""Facts of a run in words: device, dates, and the entries of its environment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench import units
from bench.report import naming

if TYPE_CHECKING:
    from bench.results import RunResults

UNITS = {"_bytes": "B", "_hz": "Hz"}
"""Endings of facts that are quantities in base units."""

LONGEST = 80
"""Characters of a device's name."""


def fact(name: str, value: object) -> str:
    """Returns a fact as people write it, a dash where it is unknown."""
    if value is None:
        return units.UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(name, value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {fact(str(key), item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(fact(name, item) for item in value) or "none"
    return naming.plain(str(value))


def fact_name(name: str) -> str:
    """Returns what a fact is called."""
    return name.removesuffix("_bytes").replace("_hz", "_clock").replace("_", " ")


def device(found: RunResults) -> str:
    """Returns what the cases ran on, in a few words."""
    names = {str(result.case.get("device", "cpu")) for result in found.cases}
    if names == {"cuda"}:
        return device_of(found, "cuda")
    return f"{device_of(found, 'cuda')} and {device_of(found, 'cpu')}" if "cuda" in names else device_of(found, "cpu")


def device_of(found: RunResults, kind: str) -> str:
    """Returns what cases of one device, cpu or cuda, ran on."""
    facts = found.run.environment.comparable
    if kind == "cuda":
        return naming.line(fact("gpu", facts.get("gpu") or "unknown GPU"), LONGEST)
    cpu = naming.line(fact("cpu", facts.get("cpu") or "unknown processor"), LONGEST)
    cores = facts.get("cores_usable")
    return f"{cpu}, {naming.count(cores, 'core')}" if isinstance(cores, int) else cpu


def date(seconds: float | None) -> str:
    """Returns a moment as people write it, in UTC."""
    if seconds is None:
        return units.UNKNOWN
    return datetime.fromtimestamp(seconds, UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0")


def _number(name: str, value: float) -> str:
    """Returns a number, a quantity in people's units."""
    unit = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), None)
    if unit is not None:
        return units.format_value(value, unit)
    return f"{value:g}" if abs(value) < 1e6 else str(value)
