"""Memory of a GPU's allocator, of an optimizer, and what a call saves for its backward pass."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import examples
import pytest
import torch
from allocators import FakeAllocator
from recorded import SETTINGS, soft
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from variants import EXAMPLES

from bench import plan
from bench.records import Status
from bench.worker import main, memory, saved
from bench.worker.finding import Finding
from bench.worker.subject import Subject, build

MIB = 2**20


class Called(torch.nn.Module):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))
        self.calls: list[str] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append("call")
        return x * self.weight[0]


def values(finding: Finding) -> dict[str, float]:
    return {o.metric: o.samples[0] for o in finding.observations}


def subject_of(**axes: object) -> Subject:
    return build(plan.task(soft(**axes), 0, SETTINGS))


def on_gpu(monkeypatch: pytest.MonkeyPatch, layer: torch.nn.Module) -> Subject:
    """A subject that says it is on a GPU, with everything on the CPU."""
    monkeypatch.setattr(Subject, "synchronize", lambda _subject: None)
    return replace(subject_of(), layer=layer, device=torch.device("cuda"))


# a GPU


def test_peaks_of_a_gpu_are_those_of_its_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = on_gpu(monkeypatch, Called())
    allocator = FakeAllocator(held=8 * MIB, reserved=10 * MIB, adds=4 * MIB, reserves=6 * MIB, idle=MIB)
    finding = memory.look(subject, allocator)
    found = values(finding)
    tokens = subject.batches[0].numel() * 4
    assert found["activation_memory"] == 4 * MIB
    assert found["peak_memory"] == 4 * 4 + tokens + 4 * MIB
    assert found["reserved_memory"] == 16 * MIB
    assert found["fragmentation"] == 1 - 12 / 16
    assert finding.facts == {"inactive_split_bytes": MIB}
    assert finding.flags == ()


def test_the_allocator_is_emptied_and_its_peaks_reset_between_the_first_call_and_the_measured_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = Called()
    subject = on_gpu(monkeypatch, layer)
    allocator = FakeAllocator(held=MIB, reserved=2 * MIB, adds=MIB, reserves=0, leavings=64 * MIB, asked=layer.calls)
    found = values(memory.look(subject, allocator))
    assert layer.calls == [
        "call", "empty_cache", "memory_stats", "reset_peak_memory_stats", "call", "memory_stats"
    ]  # fmt: skip
    assert found["reserved_memory"] == 2 * MIB


def test_an_allocator_that_holds_nothing_has_no_fragmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    found = values(memory.look(on_gpu(monkeypatch, Called()), FakeAllocator(0, 0, 0, 0)))
    assert found["reserved_memory"] == 0
    assert "fragmentation" not in found


def test_only_a_gpu_s_cache_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    allocator = FakeAllocator(0, 0, 0, 0)
    memory.forget(subject_of(), allocator)
    assert allocator.asked == []
    memory.forget(on_gpu(monkeypatch, Called()), allocator)
    assert allocator.asked == ["empty_cache"]


def test_every_pass_is_followed_by_giving_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(memory, "forget", lambda _subject: given.append(1))
    main.measure(plan.task(soft(), 0, SETTINGS))
    assert len(given) == len(main.INSPECT)


def test_a_cpu_has_no_allocator_to_ask() -> None:
    finding = memory.observe(subject_of(), plan.task(soft(), 0, SETTINGS))
    assert not {"reserved_memory", "fragmentation", "optimizer_memory"} & set(values(finding))
    assert finding.facts == {}


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["forward", "forward_backward"])
def test_a_real_gpu_reserves_at_least_what_it_allocates(mode: str) -> None:
    case = plan.single("soft", {"num_experts": 8, "slots_per_expert": 4, "device": "cuda", "mode": mode}, ("cuda",))
    found = values(memory.observe(build(plan.task(case, 0, SETTINGS)), plan.task(case, 0, SETTINGS)))
    assert found["reserved_memory"] >= found["activation_memory"] > 0
    assert 0 <= found["fragmentation"] < 1


@pytest.mark.gpu
def test_a_real_gpu_s_activations_are_the_bytes_that_a_call_takes() -> None:
    class Big(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.ones(16 * MIB, device=x.device)[0]

    task = plan.task(soft(), 0, SETTINGS)
    x = torch.ones(4, device="cuda")
    subject = replace(build(task), layer=Big(), batches=(x,), device=torch.device("cuda"))
    assert values(memory.observe(subject, task))["activation_memory"] == pytest.approx(64 * MIB, rel=0.01)


# an optimizer


def stepped(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter) -> torch.optim.Optimizer:
    weight.sum().backward()
    optimizer.step()
    return optimizer


def test_adamw_keeps_two_moments_and_a_step_for_each_parameter() -> None:
    weight = torch.nn.Parameter(torch.ones(1000))
    optimizer = torch.optim.AdamW([weight])
    assert memory.optimizer_bytes(optimizer) == 0
    assert memory.optimizer_bytes(stepped(optimizer, weight)) == 2 * 1000 * 4 + 4


@pytest.mark.parametrize(("momentum", "expected"), [(0.0, 0), (0.9, 4000)])
def test_sgd_keeps_a_momentum_or_nothing(momentum: float, expected: int) -> None:
    weight = torch.nn.Parameter(torch.ones(1000))
    assert memory.optimizer_bytes(stepped(torch.optim.SGD([weight], momentum=momentum), weight)) == expected


def test_a_state_of_lists_is_counted_too() -> None:
    weight = torch.nn.Parameter(torch.ones(10))
    optimizer = torch.optim.SGD([weight])
    optimizer.state[weight]["history"] = [torch.ones(3), (torch.ones(2, dtype=torch.float64),), {"older": "nothing"}]
    assert memory.optimizer_bytes(optimizer) == 3 * 4 + 2 * 8


class Wide(torch.nn.Module):
    """Few activations, and 64 MiB of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(16 * MIB))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight.sum()


def test_an_optimizer_s_state_belongs_to_the_peak_and_not_to_the_activations() -> None:
    """The first step makes two moments, 128 MiB; the call that is measured adds a gradient of 64 MiB and little more.

    The gradient of a sum is one number expanded, which the leaf accumulates as a tensor of its own.
    """
    layer = Wide()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3, momentum=0.9, foreach=False)
    found = values(memory.look(subject := replace(subject_of(mode="train_step"), layer=layer, optimizer=optimizer)))
    assert found["optimizer_memory"] == 64 * MIB
    assert found["activation_memory"] == pytest.approx(64 * MIB, rel=0.1)
    held = 2 * 64 * MIB + subject.batches[0].numel() * 4
    assert found["peak_memory"] == found["activation_memory"] + held


# what is saved for the backward pass


def saved_by(call: Callable[[torch.Tensor], torch.Tensor], *, width: int = 1000) -> int | None:
    class Calling(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return call(x)

    return saved.saved_bytes(Calling(), torch.ones(width, requires_grad=True))


def test_a_result_that_two_operators_save_is_there_once() -> None:
    assert saved_by(lambda x: x.exp()) == 4000
    assert saved_by(lambda x: x.exp() * x.exp()) == 8000
    assert saved_by(lambda x: (y := x.exp()) * y) == 4000


def test_a_view_keeps_all_of_what_it_is_a_view_of() -> None:
    assert saved_by(lambda x: (x + 1)[:10].sin()) == 4000
    assert saved_by(lambda x: (y := x + 1)[:10].sin().sum() + y[10:].cos().sum()) == 4000


def test_inputs_and_what_the_layer_holds_are_left_out() -> None:
    layer = torch.nn.Linear(8, 8)
    x = torch.ones(4, 8, requires_grad=True)
    assert saved.saved_bytes(layer, x) == 0
    normed = torch.nn.Sequential(layer, torch.nn.Sigmoid())
    assert saved.saved_bytes(normed, x) == 4 * 8 * 4


def test_what_the_graph_has_let_go_of_is_not_kept() -> None:
    def call(x: torch.Tensor) -> torch.Tensor:
        x.exp().sum()  # nobody asks for it
        return x + 1

    assert saved_by(call) == 0


class Square(torch.autograd.Function):
    """Saves its own result the ordinary way, and something else as an attribute."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        ctx.hidden = torch.ones(500)
        y = x * x
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        (y,) = ctx.saved_tensors
        return 2 * grad * y.sqrt()


def test_a_custom_function_s_saved_tensors_are_counted_and_its_attributes_cannot_be_seen() -> None:
    assert saved_by(Square.apply) == 4000


def test_a_checkpoint_keeps_its_inputs_and_nothing_of_what_it_computes() -> None:
    def heavy(x: torch.Tensor) -> torch.Tensor:
        return x.exp().tanh()  # both save their results

    assert saved_by(heavy) == 8000
    assert saved_by(lambda x: checkpoint(heavy, x + 1, use_reentrant=False)) == 4000


def test_a_sparse_tensor_leaves_the_figure_unknown() -> None:
    matrix = torch.eye(10).to_sparse()
    assert saved_by(lambda x: torch.sparse.mm(matrix, x.unsqueeze(1)), width=10) is None


def test_only_a_mode_with_a_backward_pass_saves_anything() -> None:
    case = soft()
    task = plan.task(case, 0, SETTINGS)
    assert saved.observe(build(task), task) == Finding()
    training = plan.task(soft(mode="forward_backward"), 0, SETTINGS)
    assert values(saved.observe(build(training), training))["saved_memory"] > 0
    result = main.attempt(training)
    assert result["status"] is Status.OK
    assert "saved_memory" in {o["metric"] for o in result["observations"]}


class Births(TorchDispatchMode):
    """Remembers every piece of memory that an operator returned, and whether it is still there."""

    def __init__(self) -> None:
        super().__init__()
        self.born: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.born[storage.data_ptr()] = (StorageWeakRef(storage), storage.nbytes())
        return out

    def alive(self) -> dict[int, int]:
        return {start: size for start, (ref, size) in self.born.items() if size and not ref.expired()}


@pytest.mark.parametrize(("name", "axes"), EXAMPLES)
def test_our_layers_keep_nothing_that_is_not_counted(name: str, axes: dict[str, object]) -> None:
    """All memory that a forward call made and that is still there after it, but for the output's own."""
    case = plan.single(name, examples.SHAPE | {"mode": "forward_backward"} | axes)
    subject = build(plan.task(case, 0, SETTINGS))
    x = subject.batches[0]
    subject.call(0)
    with Births() as births:
        output = subject.layer(x)
    there = {t.untyped_storage().data_ptr() for t in (*subject.layer.parameters(), *subject.layer.buffers(), x)}
    kept = {start: size for start, size in births.alive().items() if start not in there}
    of_output = kept.pop(output.untyped_storage().data_ptr(), 0)
    found = saved.saved_bytes(subject.layer, x)
    assert found in (sum(kept.values()), sum(kept.values()) + of_output)
