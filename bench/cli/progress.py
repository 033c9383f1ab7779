"""How far a run is: a bar on a terminal, else one plain line per case and round; drawn only between processes."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from bench import units
from bench.axes import case_name
from bench.records import INSPECTION, Case, Outcome, Settings, Status, reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as Bar

    from bench.run import Progress

CASE_AXES = ("variant", "moe", "num_experts", "slots_per_expert", "top_k", "batch_size", "mode")


class _Pace:
    """Counts processes and guesses the time left from those that this run measured."""

    def __init__(self) -> None:
        self.total = self.done = self._measured = 0
        self._since = time.monotonic()

    def begin(self, total: int) -> None:
        """Starts counting."""
        self.total = total
        self._since = time.monotonic()

    def pass_over(self, case: Case) -> None:
        """Counts a process that need not run."""
        del case
        self.done += 1

    def count(self) -> None:
        """Counts a process that ran."""
        self.done += 1
        self._measured += 1

    def left(self) -> str:
        """Returns about how long the rest takes, in words."""
        if not self._measured:
            return "?"
        return units.format_duration((time.monotonic() - self._since) / self._measured * (self.total - self.done))


class PlainProgress(_Pace):
    """One line per case when it is done or has failed, and one per round."""

    def __init__(self, stream: TextIO, name: str, settings: Settings) -> None:
        super().__init__()
        self._stream, self._name, self._repeats = stream, name, settings.repeats
        self._round = -1

    def start(self, case: Case, repeat: int) -> None:
        """Says which round begins."""
        del case
        if repeat != self._round:
            self._round = repeat
            what = "inspection" if repeat == INSPECTION else f"round {repeat} of {self._repeats}"
            self._say(f"{self._name}: {what}, {self.done}/{self.total} processes done, {self.left()} left")

    def end(self, case: Case, outcome: Outcome) -> None:
        """Says how a case ended, at its last process."""
        self.count()
        if outcome.status is not Status.OK or outcome.repeat == self._repeats:
            self._say(f"[{self.done}/{self.total}] {case_name(case, CASE_AXES)}: {_result(outcome)}")

    def _say(self, text: str) -> None:
        """Writes one line at once."""
        self._stream.write(f"{text}\n")
        self._stream.flush()


class TerminalProgress(_Pace):
    """A bar with the current case and the time left; redrawn only when a process starts or ends."""

    def __init__(self, bar: Bar, name: str, settings: Settings) -> None:
        super().__init__()
        self._bar, self._name, self._repeats = bar, name, settings.repeats
        self._task = bar.add_task(name, total=None, left="?", case="")

    def begin(self, total: int) -> None:
        """Draws the empty bar."""
        super().begin(total)
        self._bar.update(self._task, total=total)

    def start(self, case: Case, repeat: int) -> None:
        """Shows the case that is being measured."""
        what = "inspect" if repeat == INSPECTION else f"{repeat}/{self._repeats}"
        self._bar.update(self._task, completed=self.done, left=self.left(), case=f"{what} {case_name(case, CASE_AXES)}")
        self._bar.refresh()

    def end(self, case: Case, outcome: Outcome) -> None:
        """Moves the bar; a failure leaves a line above it."""
        self.count()
        if outcome.status is not Status.OK:
            self._bar.console.print(f"{case_name(case, CASE_AXES)}: {_result(outcome)}", markup=False, highlight=False)
        self._bar.update(self._task, completed=self.done, left=self.left())
        self._bar.refresh()


@contextmanager
def progress_for(stream: TextIO, name: str, settings: Settings) -> Iterator[Progress]:
    """Yields the bar for a terminal, plain lines for anything else."""
    if not stream.isatty():
        yield PlainProgress(stream, name, settings)
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]} left"),
        TextColumn("{task.fields[case]}", markup=False),
    )
    with Progress(*columns, console=Console(file=stream), auto_refresh=False, transient=True) as bar:
        yield TerminalProgress(bar, name, settings)


def _result(outcome: Outcome) -> str:
    """Returns how a process ended, with its latency if it has one."""
    samples = outcome.samples("latency")
    if outcome.status is Status.OK and samples:
        return f"ok, {units.format_value(sorted(samples)[len(samples) // 2], 's')}"
    if outcome.status is Status.OK:
        return "ok"
    return f"{outcome.status}: {reason(outcome.status, outcome.detail)}"
