"""What the options of a session ask to record, checked before anything is collected."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bench import gates
from bench.errors import InputError

BASELINE = "baseline:"


@dataclass(frozen=True)
class Options:
    """Where to record, how long to measure (None: as `softmoe-bench run`), and what becomes of the run.

    `fail_on` holds words of `bench.gates`; none where nothing but a failed test fails the session.
    """

    store: str
    repeats: int | None = None
    max_seconds: float | None = None
    compare: str | None = None
    fail_on: frozenset[str] = frozenset()
    save: str | None = None


def understand(config: pytest.Config) -> Options:
    """Returns what a session's options ask for.

    Raises:
        pytest.UsageError: they do not go together, or several processes would measure at once.
    """
    names = ("store", "repeats", "max_seconds", "compare", "fail_on", "save")
    given = {name: value for name in names if (value := config.getoption(f"softmoe_{name}")) is not None}
    if not given.get("store"):
        word = f"--softmoe-{next(iter(given)).replace('_', '-')}"
        raise pytest.UsageError(f"{word} is about a recorded run: say where to record it with --softmoe-store FILE")
    _refuse_workers(config)
    if "fail_on" in given and "compare" not in given:
        raise pytest.UsageError("--softmoe-fail-on judges a comparison: say with what, --softmoe-compare baseline:NAME")
    if not given.get("save", "-") or str(given.get("save")).startswith(BASELINE):
        raise pytest.UsageError(
            f"--softmoe-save '{given['save']}': give a plain word; baseline:NAME is how --softmoe-compare calls it"
        )
    try:
        fail_on = gates.parse_fail_on(given.pop("fail_on", gates.NOTHING))
    except InputError as error:
        raise pytest.UsageError(str(error).replace("--fail-on", "--softmoe-fail-on")) from None
    return Options(**given, fail_on=fail_on)


def _refuse_workers(config: pytest.Config) -> None:
    """Refuses pytest-xdist's workers, if it is there and asked for any."""
    workers = config.getoption("numprocesses", None)
    distributed = config.getoption("dist", "no") != "no" or hasattr(config, "workerinput")
    if workers or (distributed and workers is None):
        raise pytest.UsageError(
            "--softmoe-store measures one case after the other, and pytest-xdist would measure several at once:"
            " leave out -n, or give -n 0"
        )
