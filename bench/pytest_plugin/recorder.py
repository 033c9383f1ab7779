"""What a recording session does beside its tests: measures before the first one, compares and says so at the end."""

from __future__ import annotations

import inspect
import re
import shlex
from typing import TYPE_CHECKING, Any, TextIO, cast

import pytest

from bench import gates
from bench.cli.progress import PlainProgress
from bench.errors import BenchError, NotComparableError
from bench.pytest_plugin.recording import About, Recording, Silent
from bench.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.pytest_plugin.marker import Point
    from bench.pytest_plugin.options import Options
    from bench.records import Case, Planned
    from bench.results import CaseResult
    from bench.run import Progress

OWN_LAYER = re.compile(r"\.measure\(\s*(factory|layer)\s*=")
"""A test that names its layer itself: its case is known only when it runs."""

SAMPLES = pytest.StashKey[list[float]]()


class Recorder:
    """The hooks of a session that records a run."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self._config, self._options = config, options
        command = shlex.join(["pytest", *map(str, config.invocation_params.args)])
        self._recording = Recording(options, About(f"softmoe tests of {config.rootpath.name}", command))
        self._beforehand: dict[str, Planned] = {}
        self._ready = self._begun = False
        self._lines: list[str] = []

    # hooks

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Gathers the cases of the tests that will run."""
        if session.config.getoption("collectonly"):
            return
        for item in session.items:
            point = _point(item)
            if point is not None and _surely_measured(item):
                self._beforehand[point.planned.case.id] = point.planned
        try:
            self._recording.prepare()
        except BenchError as error:
            raise pytest.UsageError(str(error)) from None
        self._ready = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Measures all cases that are known, before the first of their tests and outside of it."""
        if self._beforehand and not self._begun and _uses(item):
            self._begun = True
            self._recording.begin(list(self._beforehand.values()), self._progress())

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Gives pytest-benchmark a timer that will pass on what fresh processes have measured."""
        if _uses(item):
            samples = item.stash[SAMPLES] = []
            closest = item.get_closest_marker("benchmark")
            options = {**(closest.kwargs if closest else {}), "timer": _timer(samples)}
            item.add_marker(pytest.mark.benchmark(**options), append=False)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Compares, lets the gate decide the exit status, and saves the baseline."""
        try:
            failing = self._judge()
            if failing and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
            self._save(failing=failing)
        except BenchError as error:
            self._lines.append(str(error))
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        finally:
            self._recording.close()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Says what was recorded and what came of the comparison."""
        if self._lines:
            terminalreporter.section("softmoe-bench")
        for line in self._lines:
            terminalreporter.write_line(line)

    def pytest_unconfigure(self) -> None:
        """Leaves no process behind, however the session ended."""
        self._recording.close()

    # for the fixture

    def result(self, case: Case) -> CaseResult:
        """Returns what was found of a case.

        Raises:
            BenchError: it could not be measured.
        """
        return self._recording.result(case)

    def facts(self, item: pytest.Item, case: Case) -> dict[str, object]:
        """Returns where a case was recorded and the verdict on it, and lets the report of its test carry both."""
        run = self._recording.run
        found = {"run": None if run is None else run.name, **self._recording.verdict(case)}
        item.user_properties.extend([("softmoe_case", case.id), *((f"softmoe_{k}", v) for k, v in found.items())])
        return found

    def hand_over(self, item: pytest.Item, found: CaseResult, benchmark: Any) -> None:  # noqa: ANN401  (no type)
        """Lets pytest-benchmark have the samples of all processes, as if it had taken them itself."""
        item.stash[SAMPLES].extend(seconds for outcome in found.outcomes for seconds in outcome.samples("latency"))
        benchmark.pedantic(lambda: None, rounds=len(item.stash[SAMPLES]))

    # at the end

    def _judge(self) -> bool:
        """Returns whether the comparison fails the session; what it says goes to the summary."""
        run, options = self._recording.run, self._options
        if not self._ready:
            return False
        if run is None:
            self._lines.append("no softmoe test measured a case: nothing is recorded")
            return self._recording.base is not None and "missing" in options.fail_on
        found = self._recording.of_run()
        count = ", ".join(f"{n} {s.value}" for s in Status if (n := sum(r.status is s for r in found)))
        where = f"--store {shlex.quote(options.store)}"
        self._lines.append(f"run {run.name} ({run.id}) in {options.store}: {len(found)} cases, {count}")
        if self._recording.interrupted:
            again = f"softmoe-bench run --resume {run.name} {where}"
            self._lines.append(f"interrupted; everything measured is kept, go on with: {again}")
            return False
        return self._compare() if options.compare else False

    def _compare(self) -> bool:
        """Returns whether the comparison fails the session."""
        options = self._options
        if self._recording.base is None:
            again = "" if options.save else ": --softmoe-save NAME makes this session's run one"
            self._lines.append(f"no baseline yet, so there is nothing to compare with{again}")
            return "no-baseline" in options.fail_on
        try:
            found = self._recording.comparison()
        except NotComparableError as error:
            self._lines.append(str(error))
            return bool(options.fail_on)
        if found is None:
            return False
        from bench.cli import terminal  # noqa: PLC0415  (rich)
        from bench.formats import Context  # noqa: PLC0415

        text = terminal.comparison(found, Context(fail_on=options.fail_on))
        self._lines += [line.rstrip() for line in text.splitlines()]
        self._lines += [f"note: {remark}" for remark in self._recording.remarks(found)]
        return gates.exit_code(found, options.fail_on) != 0

    def _save(self, *, failing: bool) -> None:
        """Saves the run as a baseline, where it is whole and nothing speaks against it."""
        name, run = self._options.save, self._recording.run
        if name is None or run is None or self._recording.interrupted:
            return
        if failing:
            self._lines.append(f"baseline {name} stays as it is: the comparison fails")
            return
        self._recording.save(name)
        self._lines.append(f"baseline {name}: run {run.name} ({run.id})")

    def _progress(self) -> Progress:
        """Returns what shows the measuring on the terminal, which no test has captured now."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is None or self._config.get_verbosity() < 0:
            return Silent()
        terminal.ensure_newline()
        return PlainProgress(cast("TextIO", terminal), "softmoe", self._recording.settings)


def _uses(item: pytest.Item) -> bool:
    """Returns whether a test takes the fixture."""
    return "softmoe" in getattr(item, "fixturenames", ())


def _point(item: pytest.Item) -> Point | None:
    """Returns the case that a marker gave a test, None where there is none."""
    callspec = getattr(item, "callspec", None)
    point: Point | None = None if callspec is None else callspec.params.get("softmoe")
    return point


def _surely_measured(item: pytest.Item) -> bool:
    """Returns whether a test will measure its marker's case, as far as can be told before it runs."""
    conditions = [c for mark in item.iter_markers("skipif") for c in (*mark.args, mark.kwargs.get("condition"))]
    unrun = any(mark.kwargs.get("run") is False for mark in item.iter_markers("xfail"))
    if item.get_closest_marker("skip") or any(map(bool, conditions)) or unrun:  # a condition in words may be true
        return False
    try:
        source = inspect.getsource(item.function)  # type: ignore[attr-defined]
    except (AttributeError, OSError, TypeError):
        return True
    return not OWN_LAYER.search(source)


def _timer(samples: list[float]) -> Callable[[], float]:
    """Returns a timer for pytest-benchmark: between two readings passes what a sample took."""

    def readings() -> Iterator[float]:
        for seconds in samples:
            yield 0.0
            yield seconds

    passing = readings()

    def recorded() -> float:
        return next(passing, 0.0)  # a case that was not timed ends the moment it begins

    return recorded
