"""A grid file: TOML in, axes out; every complaint names the file, the table, the key, the value and what is allowed.

[grid]      name, description
[run]       repeats, max_seconds (what the grid asks of a measurement; the command line overrides it)
[thresholds]  latency, memory, flops, parameters: relative changes that matter when its runs are compared
[defaults]  one value for an axis, used by every layer that takes the axis
[[sweep]]   a list is an axis, a scalar is fixed; the product of the lists is taken, sweeps add up
            zip = [["num_experts", "top_k"]] walks lists together
            exclude = [{num_experts = 256, batch_size = 64}] leaves points out
            a value in quotes may be derived: slots_per_expert = "seq_len // num_experts"
"""

from __future__ import annotations

import itertools
import math
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.axes import AXES, NONE_WORDS, AxisValue, label, parse_axis
from bench.errors import InputError, unknown
from bench.expression import Derived, names_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RUN_KEYS: dict[str, type] = {"repeats": int, "max_seconds": float}

THRESHOLDS = ("latency", "memory", "flops", "parameters")
"""What a relative change can be allowed for; the last three are counted, and none is allowed unless asked for."""

LARGEST_THRESHOLD = 10.0
"""Eleven times as much: who allows more does not compare."""

GridValue = AxisValue | Derived


@dataclass(frozen=True)
class Sweep:
    """One `[[sweep]]`: lists of values per axis, which of them walk together, which points are left out."""

    where: str
    axes: Mapping[str, tuple[GridValue, ...]]
    zipped: tuple[tuple[str, ...], ...] = ()
    exclude: tuple[Mapping[str, AxisValue], ...] = ()


@dataclass(frozen=True)
class Grid:
    """A grid file as read; `run` holds what it asks of the measurement."""

    name: str
    description: str
    source: str
    defaults: Mapping[str, GridValue] = field(default_factory=dict)
    sweeps: tuple[Sweep, ...] = ()
    run: Mapping[str, int | float] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)


def bundled() -> dict[str, Path]:
    """Returns the names and paths of the grids that come with the package."""
    folder = Path(str(resources.files("bench"))) / "grids"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load(name_or_file: str) -> Grid:
    """Returns a bundled grid by name, or the grid of a TOML file.

    Raises:
        InputError: no such grid or file, or what it says cannot be used.
    """
    grids = bundled()
    path = grids.get(name_or_file, Path(name_or_file))
    looks_like_file = path.suffix == ".toml" or "/" in name_or_file
    if not path.is_file():
        if looks_like_file:
            raise InputError(f"grid file {name_or_file} does not exist")
        raise InputError(f"{unknown('grid', name_or_file, grids)}; a grid of your own is a path to a .toml file")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid TOML ({error})") from None
    return parse(content, source=name_or_file)


def parse(content: Mapping[str, Any], *, source: str) -> Grid:
    """Returns the grid that the content of a TOML file describes.

    Raises:
        InputError: an unknown table, key, axis or value.
    """
    allowed = ("grid", "run", "thresholds", "defaults", "sweep")
    for key in content:
        if key not in allowed:
            raise InputError(f"{source}: {unknown('table', key, [f'[{k}]' for k in allowed])}")
    for key in ("grid", "run", "thresholds", "defaults"):
        if not isinstance(content.get(key, {}), dict):
            raise InputError(f"{source}: {key} must be a table, write [{key}]")
    head = content.get("grid", {})
    for key in head:
        if key not in ("name", "description"):
            raise InputError(f"{source}: [grid] {unknown('key', key, ('name', 'description'))}")
    if "layer" in content.get("defaults", {}):
        raise InputError(f"{source}: [defaults] layer cannot be a default: every [[sweep]] names its own")
    sweeps = content.get("sweep", [])
    if not isinstance(sweeps, list) or not sweeps or not all(isinstance(s, dict) for s in sweeps):
        raise InputError(f"{source}: a grid needs at least one [[sweep]] table")
    return Grid(
        name=str(head.get("name", Path(source).stem)),
        description=str(head.get("description", "")),
        source=source,
        defaults={
            name: _scalar(name, value, f"{source}: [defaults]") for name, value in content.get("defaults", {}).items()
        },
        sweeps=tuple(_sweep(table, f"{source}: sweep {i}") for i, table in enumerate(sweeps, 1)),
        run={name: _run_value(name, value, source) for name, value in content.get("run", {}).items()},
        thresholds={name: _threshold(name, value, source) for name, value in content.get("thresholds", {}).items()},
    )


def parse_settings(words: Sequence[str]) -> dict[str, tuple[GridValue, ...]]:
    """Returns the overrides that `--set axis=value,value` asks for.

    Raises:
        InputError: not of that form, an axis that is unknown or set twice, or a value that it does not take.
    """
    overrides: dict[str, tuple[GridValue, ...]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not equals or not values:
            raise InputError(f"--set {word}: write axis=value or axis=value,value")
        if name in overrides:
            raise InputError(f"--set {word}: {name} is set twice; write {name}=value,value for several values")
        overrides[name] = tuple(_scalar(name, value, f"--set {word}") for value in _split(values))
    return overrides


def expand(sweep: Sweep) -> Iterator[dict[str, AxisValue]]:
    """Yields every point of a sweep: the product of its lists, zipped lists walked together, excluded points left out.

    Raises:
        InputError: zipped lists of different length, an excluded axis that the sweep does not have, or a derived
            value that cannot be computed or that its axis does not take.
    """
    for rule in sweep.exclude:
        for name in rule:
            if name not in sweep.axes:
                raise InputError(f"{sweep.where}: exclude: {unknown('axis', name, sweep.axes)}")
    columns = [_walk_together(group, sweep) for group in _groups(sweep)]
    for parts in itertools.product(*columns):
        mixed = {name: value for part in parts for name, value in part.items()}
        point = {name: mixed[name] for name in sweep.axes}
        resolved = _resolve(point, sweep.where)
        if not any(all(resolved[n] == v for n, v in rule.items()) for rule in sweep.exclude):
            yield resolved


def _groups(sweep: Sweep) -> list[tuple[str, ...]]:
    """Returns the axes in the order of the file, zipped ones as one group at the place of the first."""
    member = {name: group for group in sweep.zipped for name in group}
    return list(dict.fromkeys(member.get(name, (name,)) for name in sweep.axes))


def _walk_together(group: tuple[str, ...], sweep: Sweep) -> list[dict[str, GridValue]]:
    """Returns the steps of one axis, or of several that walk together; a single value stays where it is."""
    lists = {name: sweep.axes[name] for name in group}
    steps = max(len(values) for values in lists.values())
    if any(len(values) not in (1, steps) for values in lists.values()):
        lengths = ", ".join(f"{name} has {len(values)}" for name, values in lists.items())
        raise InputError(f"{sweep.where}: zip needs lists of one length, but {lengths}")
    return [{n: values[i if len(values) > 1 else 0] for n, values in lists.items()} for i in range(steps)]


def _resolve(point: Mapping[str, GridValue], where: str) -> dict[str, AxisValue]:
    """Returns a point with its derived values computed, those that depend on others after them."""
    known: dict[str, AxisValue] = {n: v for n, v in point.items() if not isinstance(v, Derived)}
    waiting = {n: v for n, v in point.items() if isinstance(v, Derived)}
    while waiting:
        ready = {n: v for n, v in waiting.items() if not names_in(v.text) & waiting.keys()}
        if not ready:
            raise InputError(f"{where}: derived values go in a circle: {', '.join(waiting)}")
        for name, derived in ready.items():
            try:
                known[name] = parse_axis(name, derived.value(known))
            except InputError as error:
                here = label(known, sorted(names_in(derived.text)))
                at = f" at {here}" if here else ""
                raise InputError(f"{where}: {name} = '{derived.text}'{at}: {error}") from None
            del waiting[name]
    return {name: known[name] for name in point}


def _sweep(table: Mapping[str, Any], where: str) -> Sweep:
    """Returns one `[[sweep]]` table, checked."""
    axes = {n: _values(n, value, where) for n, value in table.items() if n not in ("zip", "exclude")}
    if "layer" not in axes:
        raise InputError(f"{where}: needs layer = ...")
    zipped, exclude = table.get("zip", []), table.get("exclude", [])
    groups = zipped if isinstance(zipped, list) else [None]
    if not all(isinstance(group, list) and all(isinstance(name, str) for name in group) for group in groups):
        raise InputError(f'{where}: zip takes lists of axis names, as in zip = [["num_experts", "top_k"]]')
    seen: set[str] = set()
    for name in itertools.chain.from_iterable(zipped):
        if name not in axes:
            raise InputError(f"{where}: zip: {unknown('axis', name, axes)}")
        if name == "layer":
            raise InputError(f"{where}: zip cannot walk layer: write one [[sweep]] for each layer")
        if name in seen:
            raise InputError(f"{where}: zip names {name} twice")
        seen.add(name)
    if not isinstance(exclude, list) or not all(isinstance(rule, dict) and rule for rule in exclude):
        raise InputError(f"{where}: exclude takes tables, as in exclude = [{{num_experts = 8}}]")
    rules = []
    for rule in exclude:
        parsed = {name: _scalar(name, value, f"{where}: exclude") for name, value in rule.items()}
        if any(isinstance(value, Derived) for value in parsed.values()):
            raise InputError(f"{where}: exclude takes plain values, not expressions")
        rules.append({n: v for n, v in parsed.items() if not isinstance(v, Derived)})
    return Sweep(where, axes, tuple(tuple(group) for group in zipped), tuple(rules))


def _values(name: str, value: object, where: str) -> tuple[GridValue, ...]:
    """Returns the values of one axis; a scalar is a list of one."""
    if isinstance(value, list):
        if not value:
            raise InputError(f"{where}: {name} = []: an axis needs at least one value")
        return tuple(_scalar(name, item, where) for item in value)
    return (_scalar(name, value, where),)


def _scalar(name: str, value: object, where: str) -> GridValue:
    """Returns one value in its axis' type, or the expression that will give it."""
    axis = AXES.get(name)
    if axis is None:
        raise InputError(f"{where}: {unknown('axis', name, AXES)}")
    is_number = axis.kind in (int, float)
    if isinstance(value, str) and is_number and value.lower() not in NONE_WORDS and not _is_number(value):
        try:
            names = names_in(value)
        except SyntaxError:
            raise InputError(f"{where}: {name} = '{value}': takes {axis.describe()}, or arithmetic on axes") from None
        for word in sorted(names):
            if word not in AXES:
                raise InputError(f"{where}: {name} = '{value}': {unknown('axis', word, AXES)}")
        return Derived(value)
    try:
        return axis.parse(value)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _run_value(name: str, value: object, source: str) -> int | float:
    """Returns one setting of `[run]`, checked."""
    if name not in RUN_KEYS:
        raise InputError(f"{source}: [run] {unknown('key', name, RUN_KEYS)}")
    whole = RUN_KEYS[name] is int
    is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not isinstance(value, int | float) or not is_number or not 0 < value < math.inf:
        raise InputError(f"{source}: [run] {name} = {value!r}: takes {'a whole number' if whole else 'a number'} > 0")
    return value


def _threshold(name: str, value: object, source: str) -> float:
    """Returns one share of `[thresholds]`, checked."""
    if name not in THRESHOLDS:
        raise InputError(f"{source}: [thresholds] {unknown('key', name, THRESHOLDS)}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST_THRESHOLD:
        most = f"{LARGEST_THRESHOLD:g}"
        raise InputError(
            f"{source}: [thresholds] {name} = {value!r}: takes a share from 0 to {most}, as in 0.05 for 5 %"
        )
    return float(value)


def _split(values: str) -> list[str]:
    """Returns the words between commas; a comma within parentheses belongs to an expression."""
    words, depth = [""], 0
    for character in values:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            words.append("")
        else:
            words[-1] += character
    return words


def _is_number(text: str) -> bool:
    """Returns whether a word from the command line is a plain number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
