"""One case in the test's own process: timed by pytest-benchmark, or called once for its output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench import plan
from bench.records import Settings
from bench.worker.launch import ready
from bench.worker.subject import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.records import Case


def measure(case: Case, benchmark: Callable[..., Any]) -> Any:  # noqa: ANN401  (the layer's output)
    """Returns the output of a case, timed call by call by the `benchmark` fixture.

    Raises:
        UnsupportedError: the case cannot run here for a reason that is nobody's mistake.
    """
    return benchmark(_call(case))


def once(case: Case) -> Any:  # noqa: ANN401  (the layer's output)
    """Returns the output of one call of a case."""
    return _call(case)()


def _call(case: Case) -> Callable[[], Any]:
    """Returns a function that calls a case's layer once, and waits for the device."""
    subject = build(plan.task(case, 1, Settings()))
    launched, turn = ready(subject), 0

    def call() -> Any:  # noqa: ANN401
        nonlocal turn
        turn += 1
        output = launched(turn)
        subject.synchronize()
        return output

    return call
