"""The threads that take whole experts: what they share, what they leave alone, and what becomes of a failure."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from softmoe_ref import cpu_experts, pages, workers
from softmoe_ref.pages import LEAST_BYTES


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set torch's number of threads, for the time of one test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_a_worker_computes_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    found: list[int] = []

    def work(share: Iterator[int]) -> None:
        for _ in share:
            torch.ones(4) + 1
            found.append(torch.get_num_threads())

    try:
        workers.run(work, range(64))
    finally:
        torch.set_num_threads(before)
    assert found == [1] * 64


def multiply(share: Iterator[int]) -> None:
    for _ in share:
        torch.ones(64, 64) @ torch.ones(64, 64)


def in_a_new_thread(ask: Callable[[], int]) -> int:
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(ask()))
    thread.start()
    thread.join()
    return answers[0]


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_every_item_is_taken_once(threads: int, count: int) -> None:
    assert torch.get_num_threads() == threads
    taken: list[int] = []
    workers.run(taken.extend, range(count))
    assert sorted(taken) == list(range(count))


def test_the_number_of_threads_stays_what_it_was_everywhere(threads: int) -> None:
    workers.run(multiply, range(10))
    assert torch.get_num_threads() == threads
    assert in_a_new_thread(torch.get_num_threads) == threads


def test_a_failure_reaches_the_caller_and_the_threads_go_on(threads: int) -> None:
    def work(share: Iterator[int]) -> None:
        for item in share:
            if item == 3:
                raise LookupError(f"item {item} of {threads} threads")

    for _ in range(3):
        with pytest.raises(LookupError, match=f"^item 3 of {threads} threads$"):
            workers.run(work, range(10))
    test_every_item_is_taken_once(threads, 10)


@pytest.mark.usefixtures("threads")
def test_experts_that_do_not_fit_their_rows_are_torch_s_own_complaint() -> None:
    stack = cpu_experts.Stack(torch.zeros(4, 6, 3), None, torch.zeros(4, 3, 6), None)
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        cpu_experts.run(torch.zeros(8, 8), stack, (2, 4, 6, 8), "gelu")


def test_a_child_after_a_fork_has_threads_of_its_own() -> None:
    program = """
import os, signal, sys
import torch
from softmoe_ref import Experts, SortedRows
torch.set_num_threads(2)
stack = Experts(8, 8, 16)
rows = SortedRows(torch.randn(16, 8), torch.arange(2, 17, 2, dtype=torch.int32), full=True)

def gradient():
    stack.zero_grad()
    y = stack(rows).rows
    y.sum().backward()
    return y.detach(), stack.w1.grad.clone()

before = gradient()
child = os.fork()
if child == 0:
    signal.alarm(60)
    after = gradient()
    os._exit(not all(torch.equal(one, other) for one, other in zip(before, after)))
_, status = os.waitpid(child, 0)
again = gradient()
assert all(torch.equal(one, other) for one, other in zip(before, again))
sys.exit(status != 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("rows", [0, 3, LEAST_BYTES // 4096 + 1])
def test_memory_for_a_gradient_is_like_the_weight_and_can_be_written(rows: int) -> None:
    for dtype in (torch.float32, torch.float64):
        memory = pages.empty((rows, 1024), torch.empty(0, dtype=dtype))
        assert (memory.shape, memory.dtype) == ((rows, 1024), dtype)
        assert memory.is_contiguous()
        memory.fill_(3.0)
        assert memory.eq(3.0).all()
