"""What each counter was taught: operators that it did not know, one by one, and the two against each other."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import SETTINGS, soft
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from bench import plan
from bench.counts import Count
from bench.worker import fvcore_count, torch_count
from bench.worker.operators import is_negligible
from bench.worker.subject import build

Call = Callable[[torch.Tensor], torch.Tensor]
A34, A45 = torch.ones(3, 4), torch.ones(4, 5)
S234, S245 = torch.ones(2, 3, 4), torch.ones(2, 4, 5)
Q, K, V = torch.ones(2, 3, 5, 4), torch.ones(2, 3, 7, 4), torch.ones(2, 3, 7, 6)
ROWS, PICKED = torch.ones(9, 4), torch.tensor([[0, 1, 1], [2, 2, 8]])


class Calling(torch.nn.Module):
    """Calls a function on a number from outside and gives it back, changed by what the function returns."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.call(x.flatten()[0]).sum()


def both(call: Call) -> tuple[Count, Count]:
    """What torch's counter and fvcore see of one forward pass."""
    subject = replace(build(plan.task(soft(), 0, SETTINGS)), layer=Calling(call))
    return torch_count.count(subject), fvcore_count.count(subject.layer, subject.batches[0])


PRODUCTS: dict[str, tuple[Call, int]] = {
    "matrix vector": (lambda x: (A34 * x) @ torch.ones(4), 24),
    "stack vector": (lambda x: (S234 * x) @ torch.ones(4), 48),
    "vector matrix": (lambda x: (torch.ones(4) * x) @ A45, 40),
    "vector vector": (lambda x: (torch.ones(4) * x) @ torch.ones(4), 8),
    "matrix stack": (lambda x: (A34 * x) @ S245, 240),
    "mv": (lambda x: torch.mv(A34 * x, torch.ones(4)), 24),
    "addmv": (lambda x: torch.addmv(torch.ones(3), A34 * x, torch.ones(4)), 24),
    "dot": (lambda x: torch.dot(torch.ones(4) * x, torch.ones(4)), 8),
    "vdot": (lambda x: torch.vdot(torch.ones(4) * x, torch.ones(4)), 8),
    "addmm": (lambda x: torch.addmm(torch.ones(5), A34 * x, A45), 120),
    "addmm in place": (lambda x: (torch.ones(3, 5) * x).addmm_(A34, A45), 120),
    "baddbmm": (lambda x: torch.baddbmm(torch.ones(5), S234 * x, S245), 240),
    "baddbmm in place": (lambda x: (torch.ones(2, 3, 5) * x).baddbmm_(S234, S245), 240),
    "addbmm": (lambda x: torch.addbmm(torch.ones(5), S234 * x, S245), 240),
    "linear": (lambda x: functional.linear(S234 * x, torch.ones(6, 4), torch.ones(6)), 288),
    "einsum of two": (lambda x: torch.einsum("ab,bc->ac", A34 * x, A45), 120),
    "einsum of three": (lambda x: torch.einsum("ab,bc,cd->ad", A34 * x, A45, torch.ones(5, 6)), 120 + 180),
    "einsum that only multiplies": (lambda x: torch.einsum("ab,b->ab", A34 * x, torch.ones(4)), 0),
    "convolution": (lambda x: functional.conv2d(torch.ones(2, 3, 8, 8) * x, torch.ones(5, 3, 4, 4), stride=4), 3840),
    "attention": (lambda x: functional.scaled_dot_product_attention(Q * x, K, K), 2 * 2 * 3 * 5 * 7 * (4 + 4)),
    "attention by products": (
        lambda x: functional.scaled_dot_product_attention(Q * x, K, V),
        2 * 2 * 3 * 5 * 7 * (4 + 6),
    ),
    "weighted rows": (
        lambda x: functional.embedding_bag(PICKED, ROWS * x, mode="sum", per_sample_weights=torch.ones(2, 3)),
        2 * 6 * 4,
    ),
    "unweighted rows": (lambda x: functional.embedding_bag(PICKED, ROWS * x, mode="sum"), 0),
    "norms": (lambda x: functional.layer_norm(A34 * x, (4,)) + functional.group_norm(A34 * x, 2), 0),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_both_counters_know(name: str) -> None:
    call, expected = PRODUCTS[name]
    by_torch, by_fvcore = both(call)
    assert (by_torch.total, by_fvcore.total) == (expected, expected)
    assert by_torch.missing == by_fvcore.missing == ""


@st.composite
def einsums(draw: st.DrawFn) -> tuple[str, list[list[int]]]:
    """An equation over two to four operands, lengths of 1 among them, and the operands' shapes."""
    size = dict(zip("abcde", draw(st.lists(st.integers(1, 4), min_size=5, max_size=5)), strict=True))
    words = draw(st.lists(st.lists(st.sampled_from("abcde"), unique=True, max_size=4), min_size=2, max_size=4))
    there = sorted({letter for word in words for letter in word})
    output = draw(st.lists(st.sampled_from(there), unique=True)) if there else []
    equation = f"{','.join(''.join(word) for word in words)}->{''.join(output)}"
    return equation, [[size[letter] for letter in word] for word in words]


@given(einsums())
@settings(max_examples=200, deadline=None)
def test_an_einsum_is_counted_as_torch_executes_it(found: tuple[str, list[list[int]]]) -> None:
    equation, shapes = found
    with FlopCounterMode(display=False) as counter:
        torch.einsum(equation, *(torch.ones(shape) for shape in shapes))
    path = None
    if torch.backends.opt_einsum.is_available() and len(shapes) > 2:
        pytest.skip("opt_einsum chooses the order")
    assert 2 * fvcore_count.einsum_products(equation, shapes, path) == counter.get_total_flops()


@pytest.mark.parametrize(("path", "products"), [(None, 30 + 70), ((1, 2, 0, 1), 105 + 42), ((0, 1, 0, 1), 100)])
def test_an_einsum_follows_the_path_that_it_is_given(path: tuple[int, ...] | None, products: int) -> None:
    assert fvcore_count.einsum_products("ab,bc,cd->ad", [[2, 3], [3, 5], [5, 7]], path) == products


@pytest.mark.parametrize("equation", ["...ab,...bc->...ac", "aa,ab->b", "ab,bc"])
def test_an_einsum_of_another_form_is_named_and_not_guessed(equation: str) -> None:
    shapes = ((3, 3), (3, 3))
    by_torch, by_fvcore = both(lambda x: torch.einsum(equation, torch.ones(shapes[0]) * x, torch.ones(shapes[1])))
    assert by_torch.total is not None
    assert (by_fvcore.total, dict(by_fvcore.uncounted)) == (None, {f"aten::einsum {equation}": 1})


def test_a_grouped_product_counts_the_rows_that_offs_names() -> None:
    formula = torch_count.grouped_product
    a, b = torch.zeros(10, 4), torch.zeros(3, 4, 8)
    assert formula(a, b, torch.tensor([2, 2, 7])) == 2 * 7 * 4 * 8
    assert formula(a, b, torch.tensor([2, 2, 10])) == 2 * 10 * 4 * 8
    assert formula(torch.zeros(4, 10), torch.zeros(10, 8), torch.tensor([2, 2, 10])) == 2 * 10 * 4 * 8
    assert formula(torch.zeros(3, 2, 4), torch.zeros(4, 10), torch.tensor([2, 2, 7])) == 2 * 2 * 4 * 7
    assert formula(torch.zeros(3, 2, 4), b) == 2 * 3 * 2 * 4 * 8
    assert formula(a, torch.zeros(0, 4, 8), torch.tensor([])) == 0


def test_a_grouped_product_whose_rows_a_trace_does_not_tell_is_named() -> None:
    ends = torch.tensor([2, 8], dtype=torch.int32)
    by_torch, by_fvcore = both(lambda x: functional.grouped_mm(torch.ones(8, 4) * x, torch.ones(2, 4, 8), offs=ends))
    assert by_torch.total == 2 * 8 * 4 * 8
    assert by_fvcore.total is None
    assert [name.strip("_") for name in by_fvcore.uncounted] == ["aten::_grouped_mm"]


class Product(torch.autograd.Function):
    """A product with a gradient written by hand."""

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        del ctx
        return a @ b


def test_torch_sees_into_a_custom_function_and_fvcore_names_it() -> None:
    by_torch, by_fvcore = both(lambda x: Product.apply(A34 * x, A45))
    assert (by_torch.total, dict(by_torch.by_operator)) == (120, {"aten.mm": 120})
    assert (by_fvcore.total, dict(by_fvcore.uncounted)) == (None, {"prim::PythonOp.Product": 1})


def test_what_neither_knows_is_named_by_both() -> None:
    by_torch, by_fvcore = both(lambda x: functional.bilinear(A34 * x, torch.ones(3, 5), torch.ones(2, 4, 5)))
    assert (by_torch.total, dict(by_torch.uncounted)) == (None, {"aten._trilinear": 1})
    assert (by_fvcore.total, dict(by_fvcore.uncounted)) == (None, {"aten::bilinear": 1})


def test_fused_fast_paths_are_named() -> None:
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
    by_torch, _ = both(lambda x: attention(torch.ones(2, 5, 8) * x, torch.ones(2, 5, 8), torch.ones(2, 5, 8))[0])
    assert by_torch.total is None or by_torch.total > 0
    fused = both(lambda x: attention(q := torch.ones(2, 5, 8) * x, q, q, need_weights=False)[0])[0]
    assert (fused.total, dict(fused.uncounted)) == (None, {"aten._native_multi_head_attention": 1})


def test_a_counter_that_breaks_leaves_no_figure_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_kwargs: object) -> int:
        raise AssertionError

    monkeypatch.setattr(torch_count, "taught", lambda: {torch.ops.aten.mv: broken})
    by_torch, _ = both(PRODUCTS["mv"][0])
    assert by_torch == Count(refused="torch cannot count it (AssertionError)")


def test_running_out_of_memory_is_not_a_counter_s_fault() -> None:
    def greedy(_x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        both(greedy)


def test_a_layer_that_a_trace_refuses_is_named_with_its_error() -> None:
    def choosing(_x: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_tracing():
            raise TypeError("not in a trace")
        return A34 @ A45

    by_torch, by_fvcore = both(choosing)
    assert by_torch.total == 120
    assert by_fvcore == Count(refused="fvcore cannot trace it (TypeError)")


@pytest.mark.parametrize("way", [torch.compile, lambda layer: layer.compile() or layer], ids=["wrapped", "in place"])
def test_a_compiled_layer_is_counted_as_it_was_written(way: Callable[[torch.nn.Module], torch.nn.Module]) -> None:
    subject = build(plan.task(soft(), 0, SETTINGS))
    written = torch_count.count(subject), fvcore_count.count(subject.layer, subject.batches[0])
    compiled = replace(subject, layer=way(subject.layer))
    assert fvcore_count.count(compiled.layer, subject.batches[0]) == written[1]
    again = torch_count.count(compiled)
    assert (again.refused, again.by_operator) == ("", written[0].by_operator)


def test_the_bits_of_numbers_are_put_into_a_trace_as_they_are() -> None:
    """The rows that go through the product are chosen by their bits: half of them have the sign set."""

    def chosen(x: torch.Tensor) -> torch.Tensor:
        signed = torch.cat([-A34, A34]) * x.abs()
        return signed[signed.view(torch.int32)[:, 0] < 0] @ A45

    by_torch, by_fvcore = both(chosen)
    assert (by_torch.total, by_fvcore.total) == (120, 120)


@pytest.mark.parametrize(
    "name",
    ["aten.add", "aten::add_", "aten._softmax", "aten.gelu_backward", "aten._softmax_backward_data", "aten::view",
     "aten._foreach_addcdiv_", "aten._fused_adamw_", "aten.native_layer_norm_backward", "aten::numpy_T", "aten.sum"],
)  # fmt: skip
def test_operators_without_products(name: str) -> None:
    assert is_negligible(name)


@pytest.mark.parametrize(
    "name",
    ["aten.mm", "aten::matmul", "aten.mv", "aten._cdist_forward", "aten._trilinear", "aten._grouped_mm", "mine.add",
     "prim::PythonOp.Mine", "aten._scaled_dot_product_flash_attention", "aten.convolution_backward", "aten.lstm",
     "aten._native_multi_head_attention", "aten.linalg_inv_ex", "aten._fft_r2c"],
)  # fmt: skip
def test_operators_that_may_have_products(name: str) -> None:
    assert not is_negligible(name)
