"""Experts by threads against the stacked path: the same numbers, gradients included, whatever is left out."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from softmoe_ref import Experts, SortedRows, cpu_experts, cpu_stacked
from softmoe_ref.activations import ACTIVATIONS, BACKWARD, INTO

EXPERTS, D_MODEL, D_FF = 5, 8, 12
LOADS = (3, 0, 4, 1, 0)
ENDS = torch.tensor(LOADS).cumsum(0).int()

Found = tuple[Tensor, dict[str, Tensor]]


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Set torch's number of threads, for the time of one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def make(activation: str, dtype: torch.dtype = torch.float64, num_experts: int = EXPERTS) -> Experts:
    torch.manual_seed(0)
    stack = Experts(num_experts, D_MODEL, D_FF, activation=activation, dtype=torch.float64)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.normal_()
    return stack.to(dtype)


def normal(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def by_threads(stack: Experts, rows: Tensor, ends: Tensor | tuple[int, ...] = ENDS) -> Tensor:
    weights = cpu_experts.Stack(stack.w1, stack.b1, stack.w2, stack.b2)
    return cpu_experts.run(rows, weights, tuple(int(end) for end in ends), stack.activation)


def stacked(stack: Experts, rows: Tensor) -> Tensor:
    """Return what the stacked products make of the rows, padded to the fullest expert, without those of nobody."""
    padded = rows.new_zeros(len(LOADS), max(LOADS), rows.shape[1])
    places = [(expert, place) for expert, load in enumerate(LOADS) for place in range(load)]
    expert, place = torch.tensor(places).unbind(1)
    padded = padded.index_put((expert, place), rows[: len(places)])
    return stack._stacked(padded)[expert, place]


def with_gradients(y: Tensor, stack: Experts, rows: Tensor, cotangent: Tensor) -> Found:
    leaves = {name: t for name, t in [("rows", rows), *stack.named_parameters()] if t.requires_grad}
    found = torch.autograd.grad(y, list(leaves.values()), cotangent)
    return y.detach(), dict(zip(leaves, found, strict=True))


def assert_equal(one: Found, other: Found, tolerance: float) -> None:
    torch.testing.assert_close(one[0], other[0], rtol=0, atol=tolerance * float(other[0].abs().max()))
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        room = tolerance * float(1 + other[1][name].abs().max())
        torch.testing.assert_close(gradient, other[1][name], rtol=0, atol=room, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("left_over", [0, 3])
@pytest.mark.parametrize("number", [1, 2, 7])  # more threads than experts at last
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_values_and_gradients_equal_the_stacked_ones(
    activation: str, number: int, left_over: int, threads: Callable[[int], None]
) -> None:
    stack, count = make(activation), sum(LOADS)
    rows = normal(count + left_over, D_MODEL).requires_grad_()
    cotangent = normal(count + left_over, D_MODEL, seed=2)
    expected = with_gradients(stacked(stack, rows), stack, rows, cotangent[:count])
    threads(number)
    y, gradients = with_gradients(by_threads(stack, rows), stack, rows, cotangent)
    assert y.shape == rows.shape
    assert_equal((y[:count], gradients), expected, 1e-12)
    assert not gradients["rows"][count:].any()
    for name, gradient in gradients.items():
        idle = [expert for expert, load in enumerate(LOADS) if not load]
        assert name == "rows" or not gradient[idle].any()


def sorted_rows(rows: Tensor) -> SortedRows:
    return SortedRows(rows, ENDS, full=False)


def copied_rows(rows: Tensor) -> Tensor:
    return rows[:EXPERTS].unsqueeze(1).repeat(1, 2, 1)


def shared_rows(rows: Tensor) -> Tensor:
    return rows.expand(EXPERTS, -1, -1)


@pytest.mark.parametrize("arrange", [sorted_rows, copied_rows, shared_rows])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_experts_give_the_same_this_way_and_the_other(
    activation: str, arrange: Callable[[Tensor], SortedRows | Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for usable in (True, False):
        for way in (cpu_experts, cpu_stacked):
            monkeypatch.setattr(way, "usable", lambda *_, answer=usable: answer)
        stack, rows = make(activation), normal(sum(LOADS) + 2, D_MODEL).requires_grad_()
        given = stack(arrange(rows))
        y = given.rows[: sum(LOADS)] if isinstance(given, SortedRows) else given
        assert ("_RunBackward" in graph(y)) == usable
        found.append(with_gradients(y, stack, rows, normal(*y.shape, seed=2)))
    assert_equal(found[0], found[1], 1e-12)


def graph(y: Tensor) -> set[str]:
    """Return the names of the nodes that the gradient of `y` passes."""
    names, todo = set(), [y.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None:
            names.add(node.name())
            todo += [following for following, _ in node.next_functions]
    return names


@pytest.mark.parametrize("frozen", [("w1",), ("w2", "b2"), ("b1", "b2"), ("w1", "b1", "w2", "b2"), ("rows",)])
def test_what_is_frozen_gets_no_gradient_and_the_rest_is_the_same(frozen: tuple[str, ...]) -> None:
    stack = make("gelu")
    rows = normal(sum(LOADS), D_MODEL).requires_grad_()
    cotangent = normal(sum(LOADS), D_MODEL, seed=2)
    everything = with_gradients(by_threads(stack, rows), stack, rows, cotangent)
    for name in frozen:
        (rows if name == "rows" else stack.get_parameter(name)).requires_grad_(requires_grad=False)
    kept = {name: gradient for name, gradient in everything[1].items() if name not in frozen}
    assert_equal(with_gradients(by_threads(stack, rows), stack, rows, cotangent), (everything[0], kept), 1e-15)
    by_threads(stack, rows).sum().backward()
    assert all((parameter.grad is None) == (name in frozen) for name, parameter in stack.named_parameters())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_half_precision_are_computed_with_in_the_dtype_of_the_rows(
    activation: str, dtype: torch.dtype
) -> None:
    stack = make(activation, dtype)
    rows = normal(sum(LOADS), D_MODEL, dtype=torch.float32).requires_grad_()
    cotangent = normal(sum(LOADS), D_MODEL, dtype=torch.float32, seed=2)
    y, gradients = with_gradients(by_threads(stack, rows), stack, rows, cotangent)
    assert {name: g.dtype for name, g in gradients.items()} == {
        name: torch.float32 if name == "rows" else dtype for name in gradients
    }
    precise = make(activation, dtype).float()
    expected_y, expected = with_gradients(by_threads(precise, rows), precise, rows, cotangent)
    assert torch.equal(y, expected_y)
    for name, gradient in gradients.items():
        assert torch.equal(gradient, expected[name].to(gradient.dtype)), name


def test_rows_and_incoming_gradients_may_have_any_strides() -> None:
    stack, count = make("gelu"), sum(LOADS)
    wide = normal(count, 2 * D_MODEL)
    for rows in (wide[:, ::2], wide[:, :D_MODEL], normal(D_MODEL, count).T, wide[:1, :D_MODEL].expand(count, -1)):
        leaf = rows.detach().requires_grad_()
        assert leaf.stride() == rows.stride()
        for cotangent in (torch.ones((), dtype=torch.float64).expand(count, D_MODEL), normal(D_MODEL, count).T):
            expected = with_gradients(stacked(stack, leaf), stack, leaf, cotangent.contiguous())
            assert_equal(with_gradients(by_threads(stack, leaf), stack, leaf, cotangent), expected, 1e-12)
    by_threads(stack, leaf).sum().backward()


@pytest.mark.parametrize("number", [1, 2])
def test_no_rows_at_all_are_no_special_case(number: int, threads: Callable[[int], None]) -> None:
    threads(number)
    stack = make("gelu")
    for count in (0, 2):  # none, or none of anybody's
        rows = normal(count, D_MODEL).requires_grad_()
        _, gradients = with_gradients(by_threads(stack, rows, (0,) * EXPERTS), stack, rows, normal(count, D_MODEL))
        assert not any(gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_one_thread_and_two_give_equal_results_and_count_equal_flops(
    activation: str, threads: Callable[[int], None]
) -> None:
    found, counts = [], []
    for number in (1, 2):
        threads(number)
        stack = make(activation, torch.float32)
        rows = normal(sum(LOADS), D_MODEL, dtype=torch.float32).requires_grad_()
        cotangent = normal(sum(LOADS), D_MODEL, dtype=torch.float32, seed=2)
        found.append(with_gradients(by_threads(stack, rows), stack, rows, cotangent))
        with FlopCounterMode(display=False) as counter:
            by_threads(stack, rows).sum().backward()
        counts.append(counter.get_total_flops())
    assert_equal(found[0], found[1], 1e-6)
    width = 2 * D_FF if activation == "swiglu" else D_FF
    assert counts == [3 * 2 * sum(LOADS) * D_MODEL * (width + D_FF)] * 2


@pytest.mark.parametrize("number", [1, 2])
def test_without_gradients_the_values_are_the_same(number: int, threads: Callable[[int], None]) -> None:
    threads(number)
    stack, rows = make("gelu"), normal(sum(LOADS), D_MODEL)
    expected = by_threads(stack, rows).detach()
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            y = by_threads(stack, rows)
        assert not y.requires_grad
        assert torch.equal(y, expected)


def test_few_experts_other_dtypes_and_other_devices_are_left_to_stacked_products(
    threads: Callable[[int], None],
) -> None:
    threads(2)
    rows = torch.zeros(2, 4)
    assert cpu_experts.usable(rows, 8)
    assert cpu_experts.usable(rows.double(), 8)
    assert not cpu_experts.usable(rows, 7)
    assert not cpu_experts.usable(rows.bfloat16(), 8)
    assert not cpu_experts.usable(rows.to("meta"), 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_into_memory_equal_the_functional_ones(activation: str, dtype: torch.dtype) -> None:
    whole = torch.linspace(-40, 40, 4002, dtype=torch.float64).to(dtype).view(1, -1)
    for x in (whole, normal(7, 12, dtype=dtype), normal(7, 24, dtype=dtype)[:, ::2], normal(0, 12, dtype=dtype)):
        expected = ACTIVATIONS[activation](x)
        out = torch.full_like(expected, torch.nan)
        INTO[activation](x, out)
        rough = 2e-2 if dtype == torch.bfloat16 else 1e-6
        torch.testing.assert_close(out, expected, rtol=rough, atol=rough)
        leaf = x.double().clone().requires_grad_()
        cotangent = normal(*expected.shape, seed=2)
        (gradient,) = torch.autograd.grad(ACTIVATIONS[activation](leaf), leaf, cotangent)
        found = BACKWARD[activation](cotangent, x.double())
        torch.testing.assert_close(found, gradient, rtol=1e-12, atol=1e-12)


def test_a_second_derivative_is_refused() -> None:
    stack = make("gelu")
    rows = normal(sum(LOADS), D_MODEL).requires_grad_()
    y = by_threads(stack, rows)
    with pytest.raises(RuntimeError, match=r"^this layer has no second derivative: "):
        torch.autograd.grad(y.sum(), rows, create_graph=True)
