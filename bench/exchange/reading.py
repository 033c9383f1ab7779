"""JSON from elsewhere, read field by field: every complaint names the file, the place in it and what was expected."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from bench.axes import parse_axis
from bench.errors import InputError
from bench.records import Case, Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.axes import AxisValue

KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
LATEST = 253402300799
"""The last second of the year 9999, in seconds since the epoch: after it there is no date."""

SLOWEST = 1e9
"""Seconds beyond which nothing is the time of a call: thirty years."""

LONGEST = 40
"""Characters of a wrong value that a complaint repeats."""


def load(path: Path) -> Fields:
    """Returns the object that a file holds.

    Raises:
        InputError: it cannot be read, or see `parse`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8, so it is no JSON") from None
    return parse(text, str(path))


def parse(text: str, source: str) -> Fields:
    """Returns the object that a file holds.

    Raises:
        InputError: it is no JSON, or JSON that no store could keep: another kind than an object, a name twice in one
            object, numbers that are none, or characters that are none.
    """
    try:
        content = json.loads(text, parse_constant=_number, parse_float=_number, object_pairs_hook=_unique)
        if "\\ud" in text.lower():  # half of a character, which no database takes
            json.dumps(content, ensure_ascii=False).encode()
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{source} is no JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except UnicodeEncodeError:
        raise InputError(f"{source}: a text holds half of a character (a lone surrogate)") from None
    except RecursionError:
        raise InputError(f"{source}: nested too deeply") from None
    except ValueError:  # Python's own limit
        raise InputError(f"{source}: a number has too many digits") from None
    if not isinstance(content, dict):
        raise InputError(f"{source}: expected an object, found {show(content)}")
    return Fields(source, content)


def _number(word: str) -> float:
    """Returns a number as JSON has it: neither infinite nor NaN."""
    found = float(word)
    if not math.isfinite(found):
        raise InputError(f"{word} is no number that can be kept")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object of JSON, in which every name is there once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"'{twice}' is there twice in one object; was it merged by hand?")
    return found


@dataclass(frozen=True)
class Fields:
    """An object of JSON and where it stands; what is asked of it must be there and of the kind asked for."""

    where: str
    content: dict[str, Any]

    def _get(self, name: str, *kinds: type) -> Any:  # noqa: ANN401  (its callers say what it is)
        value = self.content.get(name)
        if name not in self.content or not _is(value, kinds):
            found = show(value) if name in self.content else "nothing"
            self.refuse(f"'{name}' is {found}, expected {KINDS[kinds[0]]}")
        return value

    def refuse(self, why: str) -> NoReturn:
        """Raises the error for what stands here."""
        raise InputError(f"{self.where}: {why}")

    def has(self, name: str) -> bool:
        """Returns whether a field is there and not null."""
        return self.content.get(name) is not None

    def text(self, name: str) -> str:
        """Returns a field that is a text."""
        found: str = self._get(name, str)
        if "\0" in found:
            self.refuse(f"'{name}' holds the character NUL")
        return found

    def number(self, name: str) -> float:
        """Returns a field that is a finite number."""
        return _finite(self._get(name, float, int), self, name)

    def moment(self, name: str) -> float:
        """Returns a field that is a time in seconds since the epoch."""
        found = self.number(name)
        if not 0 <= found < LATEST:
            self.refuse(f"'{name}' is {show(found)}, expected seconds since 1970")
        return found

    def whole(self, name: str) -> int:
        """Returns a field that is a whole number of at least 0."""
        return _whole(self._get(name, int), self, name)

    def plain(self, name: str) -> dict[str, Any]:
        """Returns a field that is an object, as it is."""
        found: dict[str, Any] = self._get(name, dict)
        return found

    def fields(self, name: str) -> Fields:
        """Returns a field that is an object."""
        return Fields(f"{self.where}: {name}", self.plain(name))

    def sequence(self, name: str) -> list[Any]:
        """Returns a field that is a list, as it is."""
        found: list[Any] = self._get(name, list)
        return found

    def texts(self, name: str) -> list[str]:
        """Returns a field that is a list of texts."""
        found = self.sequence(name)
        if not all(isinstance(one, str) for one in found):
            self.refuse(f"'{name}' is {show(found)}, expected a list of texts")
        return found

    def each(self, name: str) -> Iterator[Fields]:
        """Yields the objects of a field that is a list of objects."""
        for place, one in enumerate(self.sequence(name)):
            if not isinstance(one, dict):
                self.refuse(f"{name}[{place}] is {show(one)}, expected an object")
            yield Fields(f"{self.where}: {name}[{place}]", one)

    def numbers(self, name: str) -> list[float]:
        """Returns a field that is a list of finite numbers."""
        values = self.sequence(name)
        for value in values:
            if not _is(value, (int, float)):
                self.refuse(f"'{name}' holds {show(value)}, expected numbers")
        return [_finite(value, self, name) for value in values]

    def samples(self, name: str) -> list[float]:
        """Returns a field that is a list of one finite number or more."""
        found = self.numbers(name)
        if not found:
            self.refuse(f"'{name}' is empty, expected a sample or more")
        return found

    def times(self, name: str) -> list[float]:
        """Returns a field that is a list of times of a call, in seconds."""
        found = self.samples(name)
        if not all(0 < seconds <= SLOWEST for seconds in found):
            self.refuse(f"'{name}' holds a time that is not above 0, or is beyond {SLOWEST:.0e} s")
        return found

    def wholes(self, name: str) -> list[int]:
        """Returns a field that is a list of whole numbers of at least 0."""
        return [_whole(value, self, name) for value in self.numbers(name)]

    def date(self, name: str) -> float:
        """Returns a field that is a date with its time zone, in seconds since the epoch."""
        words = self.text(name)
        try:
            found = datetime.fromisoformat(words)
        except ValueError:
            self.refuse(f"'{name}' is {show(words)}, expected a date as in 2026-11-26T19:45:13+00:00")
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

    def status(self, name: str) -> Status:
        """Returns a field that says how a case ended."""
        word, allowed = self.text(name), [status.value for status in Status]
        if word not in allowed:
            self.refuse(f"'{name}' is {show(word)}, expected one of {', '.join(allowed)}")
        return Status(word)

    def run_id(self, name: str) -> str:
        """Returns a field that is the id of a run."""
        found = self.text(name)
        if not re.fullmatch(r"[0-9a-f]{12}", found):
            self.refuse(f"'{name}' is {show(found)}, expected twelve hexadecimal digits")
        return found

    def informational(self, name: str) -> dict[str, Any]:
        """Returns a field that holds facts of a machine; those that are looked into have their kind."""
        facts = self.fields(name)
        for part in ("git", "packages"):
            if facts.has(part):
                facts.plain(part)
        if facts.has("gpus"):
            list(facts.each("gpus"))
        return facts.content

    def case(self, name: str, id_: str, shared: dict[str, AxisValue] | None = None) -> Case:
        """Returns the case whose axes a field holds, beside those that it shares with others; its id is checked."""
        axes = {**(shared or {}), **self.plain(name)}
        try:
            case = Case({axis: parse_axis(axis, value) for axis, value in axes.items()})
        except InputError as error:
            self.refuse(str(error))
        if "layer" not in case:
            self.refuse(f"'{name}' has no layer")
        if case.id != id_:
            self.refuse(f"the case is called {show(id_)}, but its axes give {case.id}: was it edited?")
        return case


def show(value: object) -> str:
    """Returns a wrong value for a complaint, cut short."""
    words = json.dumps(value, ensure_ascii=False, default=str)
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}..."


def _is(value: object, kinds: tuple[type, ...]) -> bool:
    """Returns whether a value is of one of these kinds; true and false are no numbers."""
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _finite(value: float, fields: Fields, name: str) -> float:
    """Returns a number that a store can keep."""
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if not math.isfinite(value) or isinstance(value, int):
        fields.refuse(f"'{name}' holds {show(value)}, which is too large")
    return value


def _whole(value: float, fields: Fields, name: str) -> int:
    """Returns a whole number of at least 0."""
    if value != int(value) or value < 0:
        fields.refuse(f"'{name}' holds {show(value)}, expected whole numbers of at least 0")
    return int(value)
