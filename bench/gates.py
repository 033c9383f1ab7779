"""What fails a comparison: the closed table of words for `--fail-on`, and the exit code that they come to.

Worse comes before incomplete, incomplete before undecided. Slower counts only beyond doubt over the whole family of
cases; memory, FLOPs and parameters have no noise and count case by case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import Exit, InputError, unknown
from bench.verdicts import Verdict, family

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.verdicts import Comparison, Comparisons

    Cases = tuple[Comparison, ...]

NOTHING = "none"
"""The word that stands for no reason to fail at all."""


@dataclass(frozen=True)
class Word:
    """A reason to fail: the exit code, what it means, and the cases of a comparison that it concerns."""

    exit: Exit
    text: str
    cases: Callable[[Comparisons], Cases]


def _grew(word: str) -> Callable[[Comparisons], Cases]:
    """Returns what finds the cases of which an exact figure grew by more than is allowed."""
    return lambda found: tuple(row for row in found.rows if any(family(metric) == word for metric in row.worse_in))


def _with(verdict: Verdict) -> Callable[[Comparisons], Cases]:
    """Returns what finds the cases that have a verdict."""
    return lambda found: tuple(row for row in found.rows if row.verdict is verdict)


def _slower(found: Comparisons) -> Cases:
    """Returns the cases that are slower beyond doubt over the whole family."""
    return tuple(row for row in found.rows if row.case_id in found.gate)


def _no_baseline(found: Comparisons) -> Cases:
    """Returns all cases where the base has none of them."""
    return found.rows if all(row.verdict is Verdict.NEW for row in found.rows) else ()


def _nothing_compared(found: Comparisons) -> Cases:
    """Returns the cases of the base where not one of them was measured on both sides."""
    return () if found.compared else tuple(row for row in found.rows if row.verdict is not Verdict.NEW)


FAIL_ON: dict[str, Word] = {
    "slower": Word(Exit.WORSE, "slower beyond doubt over all cases", _slower),
    "memory": Word(Exit.WORSE, "more memory of any kind", _grew("memory")),
    "flops": Word(Exit.WORSE, "more FLOPs", _grew("flops")),
    "parameters": Word(Exit.WORSE, "more parameters", _grew("parameters")),
    "missing": Word(Exit.INCOMPLETE, "a case of the base that the candidate does not have", _with(Verdict.MISSING)),
    "failed": Word(Exit.INCOMPLETE, "a case that worked in the base and fails now", _with(Verdict.FAILED)),
    "nothing-compared": Word(Exit.INCOMPLETE, "not one case was measured on both sides", _nothing_compared),
    "no-baseline": Word(Exit.INCOMPLETE, "the base has none of the cases", _no_baseline),
    "new": Word(Exit.INCOMPLETE, "a case that the base does not have", _with(Verdict.NEW)),
    "not-comparable": Word(Exit.INCOMPLETE, "a case without figures on both sides", _with(Verdict.NOT_COMPARABLE)),
    "unclear": Word(Exit.UNDECIDED, "a case of which neither can be said", _with(Verdict.UNCLEAR)),
}
"""What may be written after `--fail-on`, gravest first."""

DEFAULT = frozenset({"slower", "memory", "flops", "parameters", "missing", "failed", "nothing-compared"})
"""What fails a comparison unless told otherwise."""

ORDER = (Exit.WORSE, Exit.INCOMPLETE, Exit.UNDECIDED)
"""Which exit code wins where several words fire."""


def parse_fail_on(words: str) -> frozenset[str]:
    """Returns the words of a list with commas; `none` alone stands for no word.

    Raises:
        InputError: an unknown word, no word, or `none` beside others.
    """
    given = [word for part in words.split(",") if (word := part.strip().lower())]
    if given == [NOTHING]:
        return frozenset()
    if not given or NOTHING in given:
        raise InputError(f"--fail-on '{words}': name one or more of {', '.join(FAIL_ON)}, or only {NOTHING}")
    for word in given:
        if word not in FAIL_ON:
            raise InputError(f"--fail-on: {unknown('word', word, [*FAIL_ON, NOTHING])}")
    return frozenset(given)


def fired(found: Comparisons, fail_on: frozenset[str] = frozenset(FAIL_ON)) -> dict[str, Cases]:
    """Returns the cases that each word concerns, for those words that concern any, gravest first."""
    cases = {word: FAIL_ON[word].cases(found) for word in FAIL_ON if word in fail_on}
    return {word: concerned for word, concerned in cases.items() if concerned}


def exit_code(found: Comparisons, fail_on: frozenset[str] = DEFAULT) -> Exit:
    """Returns the exit code of a comparison; one without any case proves nothing and is incomplete."""
    if not found.rows and fail_on:
        return Exit.INCOMPLETE
    codes = {FAIL_ON[word].exit for word in fired(found, fail_on)}
    return next((code for code in ORDER if code in codes), Exit.OK)


def reasons(found: Comparisons, fail_on: frozenset[str] = DEFAULT) -> dict[str, tuple[str, ...]]:
    """Returns the words that each case fails by, by its id; cases that pass are left out."""
    by_case: dict[str, tuple[str, ...]] = {}
    for word, cases in fired(found, fail_on).items():
        for row in cases:
            by_case[row.case_id] = (*by_case.get(row.case_id, ()), word)
    return by_case


def say(found: Comparisons, fail_on: frozenset[str] = DEFAULT) -> str:
    """Returns why a comparison fails, such as `slower (2 cases), missing (1 case)`; nothing where it passes."""
    if not found.rows and fail_on:
        return "there is no case"
    return ", ".join(
        f"{word} ({len(cases)} {'case' if len(cases) == 1 else 'cases'})"
        for word, cases in fired(found, fail_on).items()
    )
