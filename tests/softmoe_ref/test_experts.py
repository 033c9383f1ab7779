import pytest
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from softmoe_ref import Experts, SortedRows
from softmoe_ref import experts as experts_module

LOADS = (3, 0, 4, 1)


@pytest.fixture
def stack() -> Experts:
    torch.manual_seed(3)
    stack = Experts(4, 8, 12, dtype=torch.float64)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.normal_()
    return stack


def by_hand(stack: Experts, e: int, rows: Tensor) -> Tensor:
    hidden = rows @ stack.w1[e] + stack.b1[e]
    hidden = 0.5 * hidden * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (hidden + 0.044715 * hidden**3)))
    return hidden @ stack.w2[e] + stack.b2[e]


def test_stacked_rows_go_through_their_own_expert(stack: Experts) -> None:
    x = torch.randn(4, 5, 8, dtype=torch.float64)
    y = stack(x)
    for e in range(4):
        torch.testing.assert_close(y[e], by_hand(stack, e, x[e]))


def test_one_expert_takes_a_path_of_its_own_with_the_same_result() -> None:
    torch.manual_seed(0)
    stack = Experts(1, 8, 12, dtype=torch.float64)
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(stack(x)[0], by_hand(stack, 0, x[0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("left_over", [0, 2])
def test_sorted_rows_go_through_their_own_expert_even_if_one_has_none(
    stack: Experts, dtype: torch.dtype, left_over: int
) -> None:
    stack.to(dtype)
    assert experts_module.has_grouped_kernel(stack.w1) == (dtype == torch.float32)
    rows = torch.randn(sum(LOADS) + left_over, 8, dtype=dtype)
    ends = torch.tensor(LOADS).cumsum(0).int()
    y = stack(SortedRows(rows, ends, full=left_over == 0))
    assert y.rows.shape == rows.shape
    split = torch.split(rows, [*LOADS, left_over])
    each = stack(tuple(split[:4]))
    for e, (start, load) in enumerate(zip((0, 3, 3, 7), LOADS, strict=True)):
        torch.testing.assert_close(y.rows[start : start + load], by_hand(stack, e, split[e]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(each[e], by_hand(stack, e, split[e]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("d_model", "d_ff"), [(7, 12), (8, 13), (6, 10)])
def test_odd_widths_take_the_slices_and_still_agree(d_model: int, d_ff: int) -> None:
    torch.manual_seed(0)
    stack = Experts(4, d_model, d_ff)
    assert not experts_module.has_grouped_kernel(stack.w1)
    rows = torch.randn(sum(LOADS), d_model)
    y = stack(SortedRows(rows, torch.tensor(LOADS).cumsum(0).int(), full=True))
    expected = torch.cat([by_hand(stack, e, part) for e, part in enumerate(torch.split(rows, LOADS))])
    torch.testing.assert_close(y.rows, expected)


def test_rows_that_belong_to_nobody_leave_no_trace_in_the_gradients(stack: Experts) -> None:
    stack.float()
    ends = torch.tensor(LOADS).cumsum(0).int()
    rows = torch.randn(sum(LOADS) + 2, 8)
    rows[-2:] = float("nan")
    y = stack(SortedRows(rows, ends, full=False)).rows
    cotangent = torch.randn_like(y)
    cotangent[-2:] = 0
    for name, gradient in zip(
        dict(stack.named_parameters()), torch.autograd.grad(y, stack.parameters(), cotangent), strict=True
    ):
        expected = torch.autograd.grad(
            [by_hand(stack, e, part) for e, part in enumerate(torch.split(rows[:-2], LOADS))],
            stack.get_parameter(name),
            torch.split(cotangent[:-2], LOADS),
        )
        torch.testing.assert_close(gradient, expected[0], rtol=1e-4, atol=1e-4)


class LargeResults(TorchDispatchMode):
    """Counts the operations whose result is as large as the whole stack of weights."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.count = 0

    def __torch_dispatch__(
        self, func: OpOverload, types: object, args: tuple[object, ...] = (), kwargs: dict[str, object] | None = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        fresh = not func._schema.name.startswith(("aten::view", "aten::transpose", "aten::detach", "aten::t"))
        self.count += fresh and isinstance(result, torch.Tensor) and result.numel() >= self.size
        return result


@pytest.mark.parametrize("kind", ["grouped", "slices", "each"])
def test_the_backward_pass_never_makes_a_stack_of_zeros_per_expert(kind: str) -> None:
    counts = []
    for num_experts in (4, 16):
        stack = Experts(num_experts, 16, 32, dtype=torch.float64 if kind == "slices" else torch.float32)
        rows = torch.randn(2 * num_experts, 16, dtype=stack.w1.dtype)
        ends = torch.arange(2, 2 * num_experts + 1, 2, dtype=torch.int32)
        with LargeResults(stack.w1.numel()) as large:
            y = stack(rows.split(2) if kind == "each" else SortedRows(rows, ends, full=True))
            sum(part.sum() for part in (y if kind == "each" else [y.rows])).backward()
        counts.append(large.count)
    assert counts[0] == counts[1] <= 4


def test_every_expert_is_drawn_within_its_own_xavier_bound() -> None:
    torch.manual_seed(0)
    stack = Experts(16, 32, 64)
    bound = (6 / 96) ** 0.5
    for weight in (stack.w1.detach(), stack.w2.detach()):
        assert float(weight.abs().max()) <= bound
        assert torch.all(weight.flatten(1).abs().max(1).values > 0.97 * bound)
        assert len({float(w.sum()) for w in weight}) == 16
    assert 0 < float(stack.b1.detach().std()) < 2e-6
    assert 0 < float(stack.b2.detach().std()) < 2e-6


@pytest.mark.parametrize("native", [True, False])
def test_half_precision_is_computed_in_float32_where_the_cpu_has_no_units(
    monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    monkeypatch.setattr(experts_module, "_cpu_computes", lambda _: native)
    expected = torch.bfloat16 if native else torch.float32
    assert experts_module.computing_dtype(torch.zeros(1, dtype=torch.bfloat16)) == expected
    assert experts_module.computing_dtype(torch.zeros(1, dtype=torch.float64)) == torch.float64
    assert experts_module.computing_dtype(torch.zeros(1, dtype=torch.bfloat16, device="meta")) == torch.bfloat16


def test_the_units_of_a_cpu_are_read_from_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "amx_fp16": False, "avx2": True})
    experts_module._cpu_computes.cache_clear()
    try:
        assert experts_module._cpu_computes(torch.bfloat16)
        assert not experts_module._cpu_computes(torch.float16)
        monkeypatch.delattr(torch.cpu, "get_capabilities")
        experts_module._cpu_computes.cache_clear()
        assert experts_module._cpu_computes(torch.float16)
    finally:
        experts_module._cpu_computes.cache_clear()
