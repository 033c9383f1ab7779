"""What a test does with `softmoe`: measures its case, in its own process or as a recorded run has it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from bench import layers, plan
from bench.errors import BenchError, InputError
from bench.pytest_plugin.marker import replaced, target_of
from bench.records import FAILED, Planned, Status, reason

if TYPE_CHECKING:
    from bench.pytest_plugin.marker import Point
    from bench.pytest_plugin.recorder import Recorder
    from bench.records import Case
    from bench.results import CaseResult


class Softmoe:
    """The `softmoe` fixture of one test; `recorder` is there where the session records a run."""

    def __init__(self, node: pytest.Item, benchmark: Any, point: Point | None, recorder: Recorder | None) -> None:  # noqa: ANN401
        self._node, self._benchmark, self._point, self._recorder = node, benchmark, point, recorder

    @property
    def case(self) -> Case:
        """The case of the marker, a mapping of axes.

        Raises:
            InputError: the test has no softmoe marker.
        """
        return self._planned.case

    @property
    def _planned(self) -> Planned:
        """The marker's case, and why it cannot be measured if so."""
        if self._point is None:
            raise InputError('this test has no case: mark it, as in @pytest.mark.softmoe("soft", num_experts=8)')
        return self._point.planned

    def measure(self, *, factory: object = None, layer: str | None = None) -> None:
        """Measures the marker's case, or a layer from outside over its axes: a factory, or `pkg.mod:Factory`.

        The test is skipped where the case cannot run here, and fails where it does not end well.
        """
        __tracebackhide__ = True  # pytest shows the test's own line
        wrong = None
        try:
            planned = self._of(factory, layer)
            if planned.skip is not None:
                pytest.skip(planned.skip)
            if self._recorder is None:
                self._measure_here(planned.case)
            else:
                self._report(planned.case, self._recorder)
        except BenchError as error:
            wrong = str(error)
        if wrong is not None:  # outside of `except`, so that pytest shows this line alone
            self._give_up(wrong)

    def __call__(self, layer: str, **axes: Any) -> Any:  # noqa: ANN401  (the layer's output)
        """Returns the output of a layer after measuring one call of it: its name, then any axis as a keyword.

        Raises:
            InputError: an axis or value that the layer does not take.
        """
        from bench.pytest_plugin import here  # noqa: PLC0415  (torch)
        from bench.worker import facts  # noqa: PLC0415

        case = plan.single(layer, axes, devices=facts.devices())
        if self._recorder is None:
            return self._measure_here(case)
        wrong = None
        try:
            self._report(case, self._recorder)
        except BenchError as error:
            wrong = str(error)
        if wrong is not None:
            self._give_up(wrong)
        return here.once(case)

    def _of(self, factory: object, layer: str | None) -> Planned:
        """Returns the case to measure."""
        if factory is not None and layer is not None:
            raise InputError("softmoe.measure takes a factory or the import string of a layer, not both")
        if factory is None and layer is None:
            return self._planned
        marker = self._node.get_closest_marker("softmoe")
        if marker is not None and "backend" in marker.kwargs:
            raise InputError("a layer from outside has no backend: leave backend out of the marker")
        return replaced(self._planned, target_of(factory if layer is None else layer))

    def _measure_here(self, case: Case) -> Any:  # noqa: ANN401  (the layer's output)
        """Returns the output of a case that pytest-benchmark times in this process."""
        __tracebackhide__ = True
        from bench.pytest_plugin import here  # noqa: PLC0415  (torch)
        from bench.worker.subject import UnsupportedError  # noqa: PLC0415

        self._tell(case, measured_in="the process of the test")
        try:
            return here.measure(case, self._benchmark)
        except UnsupportedError as error:
            pytest.skip(str(error))

    def _report(self, case: Case, recorder: Recorder) -> None:
        """Lets a test end as its case did in the run, whose samples pytest-benchmark gets."""
        __tracebackhide__ = True
        found = recorder.result(case)
        if found.status is Status.OK:
            self._tell(case, measured_in="fresh processes", **_facts(found), **recorder.facts(self._node, case))
            recorder.hand_over(self._node, found, self._benchmark)
            return
        why = reason(found.status, found.detail) if found.status else "was not measured"
        recorder.facts(self._node, case)
        if found.status in FAILED:
            self._give_up(f"{found.status}: {why}")
        pytest.skip(why)

    def _tell(self, case: Case, **more: Any) -> None:  # noqa: ANN401  (whatever JSON has words for)
        """Writes what was measured into pytest-benchmark's JSON."""
        cost = layers.cost(case)
        self._benchmark.extra_info.update(
            case=case.id, axes=dict(case), flops=None if cost is None else cost.useful_flops, **more
        )

    def _give_up(self, why: str) -> NoReturn:
        """Fails the test in one line; for pytest-benchmark it is a function that raised."""
        __tracebackhide__ = True

        def raises() -> NoReturn:
            raise BenchError(why)

        with suppress(BenchError):
            self._benchmark.pedantic(raises)
        pytest.fail(why, pytrace=False)


def _facts(found: CaseResult) -> dict[str, Any]:
    """Returns what a verdict on a case rests on."""
    timed = found.figures.get("latency")
    return {
        "processes": [] if timed is None else list(timed.by_repeat.values()),
        "disturbed": sorted(found.disturbed),
        "caveats": {flag.code: flag.detail for flag in found.flags},
        "peak_memory": found.value("peak_memory"),
        "parameters": found.value("parameters"),
    }
