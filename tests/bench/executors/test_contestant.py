"""A side of a contest: a real worker that is told what to do, and what becomes of it when it fails."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from recorded import SETTINGS, soft

from bench import plan
from bench.executors.contestant import Contestant, LostError
from bench.executors.fork_server import Interpreter
from bench.records import Status, Task

HERE = Path(__file__).parents[2] / "fakes"


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contestant]:
    with Contestant("base", Interpreter(first=(str(HERE),)), tmp_path_factory.mktemp("ring")) as entered:
        yield entered


def task(**axes: object) -> Task:
    return plan.task(soft(device="cpu", threads=1, **axes), 1, SETTINGS)


def test_it_warms_up_then_times_blocks_and_leaves_its_output(side: Contestant) -> None:
    ready = side.enter(task())
    assert 0 < ready.level < 1
    assert ready.iterations >= 1
    assert all(side.block(turn, 3) > 0 for turn in range(4))
    output = side.output()
    assert output is not None
    assert output.shape == (32 * 16,)
    side.leave()
    assert side.output() is None


def test_a_second_worker_takes_the_place_of_the_first(side: Contestant) -> None:
    for _ in range(2):
        side.enter(task())
    assert side.block(0, 1) > 0


def test_a_layer_that_cannot_be_built_is_an_error_with_its_words(side: Contestant) -> None:
    broken = Task(soft(device="cpu"), 1, "no_such_module:Layer", (), None, SETTINGS)
    with pytest.raises(LostError) as lost:
        side.enter(broken)
    assert lost.value.status is Status.ERROR
    assert "No module named 'no_such_module'" in lost.value.detail
    assert side.enter(task()).level > 0  # the side itself is unharmed


def test_a_worker_that_is_killed_is_a_crash(side: Contestant) -> None:
    side.enter(task())
    worker = side._server.worker
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(LostError) as lost:
        side.block(0, 1)
    assert lost.value.status is Status.CRASHED
    assert "signal 9 (SIGKILL)" in lost.value.detail


def test_a_worker_that_hangs_is_a_timeout(side: Contestant) -> None:
    side.enter(task())
    worker = side._server.worker
    assert worker is not None
    os.kill(worker, signal.SIGSTOP)
    side._limit = 0.2
    with pytest.raises(LostError) as lost:
        side.block(0, 1)
    assert lost.value.status is Status.TIMEOUT
    side.leave()
    assert not Path(f"/proc/{worker}").exists()
