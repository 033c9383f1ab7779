"""What cases are called in a report: axes, layers and values in words, figures in people's units."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bench import layers, units
from bench.axes import COMMON, show_value
from bench.records import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.axes import AxisValue
    from bench.results import Figure
    from bench.stats import Interval

AXES = {
    "num_experts": "experts",
    "slots_per_expert": "slots per expert",
    "total_slots": "total slots",
    "top_k": "experts per token (top-k)",
    "capacity_factor": "capacity factor",
    "group_size": "group size",
    "num_shared_experts": "shared experts",
    "expert_groups": "groups of experts",
    "top_groups": "groups of experts per token",
    "batch_size": "batch size",
    "seq_len": "tokens per sequence",
    "d_model": "token width",
    "d_ff": "hidden width",
    "dtype": "number format",
    "input": "tokens from",
    "moe": "layer of the last blocks",
    "assignment": "assignment in training",
    "threads": "CPU threads",
    "batch_priority": "batch priority",
    "capacity_rounding": "capacity rounding",
    "renormalize": "renormalised gates",
}
"""Axis -> what a newcomer calls it; the others are called as they are."""

AXIS_UNITS = {"batch_size": "sequences", "seq_len": "tokens", "group_size": "tokens"}

PHRASES = {
    "variant": "ViT {}",
    "num_experts": "{} experts",
    "slots_per_expert": "{} slots per expert",
    "top_k": "top-{}",
    "capacity_factor": "capacity {}",
    "group_size": "groups of {}",
    "num_shared_experts": "{} shared experts",
    "expert_groups": "{} groups of experts",
    "top_groups": "top-{} groups",
    "assignment": "{} assignment",
    "batch_size": "batch size {}",
    "seq_len": "{} tokens per sequence",
    "d_model": "token width {}",
    "d_ff": "hidden width {}",
    "threads": "{} threads",
    "input": "{} tokens",
    "cache": "{} cache",
    "seed": "seed {}",
    "normalize": "normalised {}",
    "capacity_rounding": "capacity rounded by {}",
}
SPECIAL: dict[tuple[str, AxisValue], str] = {
    ("capacity_factor", None): "dropless",
    ("group_size", None): "one sequence per group",
    ("threads", None): "all threads",
    ("mode", "forward_backward"): "forward and backward",
    ("normalize", "none"): "not normalised",
    ("activation", "gelu"): "GELU experts",
    ("activation", "swiglu"): "SwiGLU experts",
    ("num_experts", 1): "1 expert",
    ("slots_per_expert", 1): "1 slot per expert",
    ("num_shared_experts", 1): "1 shared expert",
    ("expert_groups", 1): "1 group of experts",
    ("top_groups", 1): "top-1 group",
    ("threads", 1): "1 thread",
}

STATUSES = {
    Status.OK: "ok",
    Status.OUT_OF_MEMORY: "out of memory",
    Status.TIMEOUT: "timeout",
    Status.UNSUPPORTED: "unsupported",
    Status.ERROR: "error",
    Status.CRASHED: "crashed",
    Status.SKIPPED: "skipped",
    None: "not measured",
}

LONGEST = 160
"""Characters of a layer's name, of an axis' value and of a run's name; the grid under How to reproduce has all."""

_CONTROL = re.compile(
    r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"
    r"|[\u202a-\u202e\u2066-\u2069]"  # what reverses the words after it too
)


def plain(text: str) -> str:
    """Returns a text without terminal colours and characters that no page may hold."""
    return _CONTROL.sub("", text)


def line(text: str, length: int = LONGEST) -> str:
    """Returns a text as one line of bounded length."""
    return shorten(" ".join(plain(text).split()), length)


def shorten(text: str, length: int) -> str:
    """Returns a text of at most `length` characters, its middle left out."""
    if len(text) <= length:
        return text
    head = (length - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def axis(name: str) -> str:
    """Returns what an axis is called."""
    return AXES.get(name, name.replace("_", " "))


def axis_label(name: str) -> str:
    """Returns an axis with its unit, for charts."""
    return f"{axis(name)} ({AXIS_UNITS[name]})" if name in AXIS_UNITS else axis(name)


def phrase(name: str, value: AxisValue) -> str:
    """Returns an axis' value in words that stand alone, such as `8 experts`."""
    if (name, value) in SPECIAL:
        return SPECIAL[name, value]
    if isinstance(value, bool):
        return axis(name) if value else f"no {axis(name)}"
    if name not in PHRASES and name in {"dtype", "device", "mode", "launch", "backend"}:
        return line(show_value(value))
    return line(PHRASES.get(name, f"{axis(name)} {{}}").format(show_value(value)))


def layer(case: Mapping[str, AxisValue]) -> str:
    """Returns the title of a case's layer; one from outside is called by its import target."""
    known = layers.known(case)
    return line(str(case["layer"])) if known is None else known.title


def backend(case: Mapping[str, AxisValue]) -> str:
    """Returns the backend; for a layer of another package that has but one way, the package; else nothing."""
    package = layers.package(case["layer"])
    return line(str(case.get("backend") or (package.name if package else "")))


def kind(case: Mapping[str, AxisValue]) -> str:
    """Returns layer and backend, which always go together: another backend is another figure."""
    return " · ".join(filter(None, (layer(case), backend(case))))


def is_workload(name: str) -> bool:
    """Whether an axis belongs to the work that is asked for, not to the design of a layer."""
    return name in COMMON or name == "variant"


def words(case: Mapping[str, AxisValue], names: Sequence[str]) -> str:
    """Returns those axes that the case has, in words."""
    return ", ".join(phrase(name, case[name]) for name in names if name in case)


def join(items: Sequence[str], most: int = 4) -> str:
    """Returns a list as a sentence has it: `a, b and c`, the end of a long one as a number."""
    shown = list(items[:most])
    if len(items) > most:
        shown.append(f"{len(items) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def count(number: int, noun: str) -> str:
    """Returns a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def value(figure: Figure | None) -> str:
    """Returns a figure's estimate in people's units, a dash where it is unknown."""
    if figure is None:
        return units.UNKNOWN
    return units.format_value(figure.value, figure.unit)


def interval(found: Interval | None, unit: str) -> str:
    """Returns low and high of an interval in people's units, a dash without one."""
    return units.UNKNOWN if found is None else span(found.low, found.high, unit)


def span(low: float | None, high: float | None, unit: str) -> str:
    """Returns two numbers in people's units, a dash where one is unknown."""
    if low is None or high is None:
        return units.UNKNOWN
    first, last = units.format_value(low, unit), units.format_value(high, unit)
    number, _, label = first.partition(" ")
    return f"{number} to {last}" if label and last.endswith(f" {label}") else f"{first} to {last}"


def times(found: Interval) -> str:
    """Returns the interval of a ratio of two figures."""
    if found.low is None or found.high is None:
        return units.UNKNOWN
    return f"{ratio(found.low)} to {ratio(found.high)}"


def ratio(number: float) -> str:
    """Returns a ratio of two figures: two decimals, fewer for large numbers, more for tiny ones."""
    if number >= 100:
        return f"{number:.0f}" if number < 10_000 else f"{number:.0e}"
    return f"{number:.2f}" if number >= 0.1 else f"{number:.2g}"
