"""FLOPs of one forward pass by fvcore, which counts multiply-adds in a trace of it, taught what it leaves out."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from bench.counts import Count
from bench.worker.operators import is_negligible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Handle = Callable[[list[Any], list[Any]], Counter[str]]


class UncountableError(Exception):
    """An operator whose multiply-adds a trace does not tell."""


class Bits(TorchFunctionMode):
    """Keeps views of numbers as other numbers' bits out of a trace, which has no form for them: their result is put in.

    Such a view has no product, and what depends on it is traced with the numbers that it has.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever the function returns)
        del types
        if func is not torch.Tensor.view or not isinstance(args[1], torch.dtype):
            return func(*args, **(kwargs or {}))
        state = torch._C._get_tracing_state()  # noqa: SLF001  (no public way to pause a trace)
        torch._C._set_tracing_state(None)  # type: ignore[attr-defined]  # noqa: SLF001
        try:
            return func(*args).clone()
        finally:
            torch._C._set_tracing_state(state)  # type: ignore[attr-defined]  # noqa: SLF001


def count(layer: torch.nn.Module, x: torch.Tensor) -> Count:
    """Returns what fvcore sees of one forward pass, doubled: 2 FLOP per multiply-add."""
    with warnings.catch_warnings(), torch.no_grad(), _as_written(layer) as written, Bits():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and tracing warns of every branch on data
        from fvcore.nn import FlopCountAnalysis  # noqa: PLC0415  (only this pass needs it)

        try:
            analysis = FlopCountAnalysis(written, x)
            analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False)
            analysis.tracer_warnings("none")
            for name, handle in HANDLES.items():
                analysis.set_op_handle(name, handle)
            by_operator = {name: int(2 * n) for name, n in analysis.by_operator().items() if n}
            passed_over = {name: int(n) for name, n in analysis.unsupported_ops().items()}
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except UncountableError as error:
            return Count(uncounted={str(error): 1})
        except Exception as error:  # noqa: BLE001  (jit tracing refuses some modules in many ways; it is not our case)
            return Count(refused=f"fvcore cannot trace it ({type(error).__name__})")
    negligible = {name: times for name, times in passed_over.items() if is_negligible(name)}
    uncounted = {name: times for name, times in passed_over.items() if name not in negligible}
    return Count(None if uncounted else sum(by_operator.values()), by_operator, uncounted, negligible)


@contextmanager
def _as_written(layer: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Yields the layer with nothing in it compiled, since a trace cannot enter what is."""
    written = getattr(layer, "_orig_mod", layer)  # torch.compile(module) wraps it, module.compile() keeps a second way
    compiled = {m: m._compiled_call_impl for m in written.modules() if m._compiled_call_impl is not None}  # noqa: SLF001
    for module in compiled:
        module._compiled_call_impl = None  # noqa: SLF001
    try:
        yield written
    finally:
        for module, call in compiled.items():
            module._compiled_call_impl = call  # noqa: SLF001


def einsum_products(equation: str, shapes: Sequence[Sequence[int]], path: Sequence[int] | None) -> int:
    """Returns the multiply-adds of an einsum as torch executes it; fvcore's own handle rounds, and takes numpy's order.

    torch contracts two operands at a time, those that `path` names or else the first two, and adds up beforehand what
    only one of them has. Where nothing is left to add up over, it multiplies number by number, which is no product.

    Raises:
        UncountableError: the equation has an ellipsis or names a letter twice in one operand.
    """
    inputs, _, output = equation.replace(" ", "").partition("->")
    letters = inputs.split(",")
    if "." in equation or "->" not in equation or any(len(set(names)) < len(names) for names in letters):
        raise UncountableError(f"aten::einsum {equation}")
    # a letter of length 1 is treated as if it were not there
    operands = [
        {name: size for name, size in zip(names, shape, strict=True) if size != 1}
        for names, shape in zip(letters, shapes, strict=True)
    ]
    pairs = list(path or ())
    products = 0
    while len(operands) > 1:
        first, second = sorted(pairs[:2] or (0, 1))
        del pairs[:2]
        b, a = operands.pop(second), operands.pop(first)
        later = set(output).union(*operands)
        summed = {name for name in a.keys() & b.keys() if name not in later}
        together = {name: size for name, size in {**a, **b}.items() if name in later or name in summed}
        products += math.prod(together.values()) if summed else 0
        # the result goes to the end if a path was given, else it is the first of the next pair
        operands.insert(len(operands) if path else 0, {n: size for n, size in together.items() if n in later})
    return products


def _shape(value: Any) -> list[int]:  # noqa: ANN401  (a torch.jit value has no public type)
    """Returns the shape of a traced value."""
    from fvcore.nn.jit_handles import get_shape  # noqa: PLC0415

    return list(get_shape(value))


def _einsum(inputs: list[Any], _outputs: list[Any]) -> Counter[str]:
    """Counts an einsum."""
    shapes = [_shape(node) for node in inputs[1].node().inputs()]
    path = inputs[2].toIValue() if len(inputs) > 2 else None
    return Counter(einsum=einsum_products(inputs[0].toIValue(), shapes, path))


def _matmul(inputs: list[Any], _outputs: list[Any]) -> Counter[str]:
    """Counts a product of any two of vector, matrix and stack of matrices; fvcore's own takes no vectors."""
    a, b = _shape(inputs[0]), _shape(inputs[1])
    stack = torch.broadcast_shapes(a[:-2], b[:-2])  # type: ignore[no-untyped-call]
    rows, columns = a[-2] if len(a) > 1 else 1, b[-1] if len(b) > 1 else 1
    return Counter(matmul=math.prod(stack) * rows * a[-1] * columns)


def _vector(name: str, operand: int) -> Handle:
    """Returns a handle that counts a multiply-add for each number of an operand, under an operator's name."""
    return lambda inputs, _outputs: Counter({name: math.prod(_shape(inputs[operand]))})


def _added(name: str) -> Handle:
    """Returns a handle for (..., R, D) times (..., D, F), added to something."""
    return lambda inputs, _outputs: Counter({name: math.prod(_shape(inputs[1])) * _shape(inputs[2])[-1]})


def _looked_up(inputs: list[Any], _outputs: list[Any]) -> Counter[str]:
    """Counts a weighted sum of rows; one without weights is no product."""
    weighted = str(inputs[6].type()) != "NoneType"
    return Counter(embedding_bag=math.prod(_shape(inputs[1])) * _shape(inputs[0])[-1] * weighted)


def _looked_up_dots(inputs: list[Any], _outputs: list[Any]) -> Counter[str]:
    """Counts the products of rows with their bags' vectors."""
    return Counter(embedding_bag=math.prod(_shape(inputs[2])) * _shape(inputs[1])[-1])


def _attention(inputs: list[Any], _outputs: list[Any]) -> Counter[str]:
    """Counts attention over (B, H, M, U), a mask or not."""
    query, key, value = (_shape(node) for node in inputs[:3])
    return Counter(attention=math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))


def _no_product(_inputs: list[Any], _outputs: list[Any]) -> Counter[str]:
    """Counts nothing, as the formulas do; fvcore has a handle of its own, which `None` would not take away."""
    return Counter()


WITHOUT_PRODUCTS = """
adaptive_avg_pool2d batch_norm grid_sampler group_norm instance_norm layer_norm upsample_bilinear2d upsample_nearest2d
"""
HANDLES: dict[str, Handle] = {
    "aten::einsum": _einsum,
    "aten::matmul": _matmul,
    "aten::mv": _vector("mv", 0),
    "aten::addmv": _vector("addmv", 1),
    "aten::dot": _vector("dot", 0),
    "aten::vdot": _vector("dot", 0),
    "aten::baddbmm": _added("baddbmm"),
    "aten::addbmm": _added("addbmm"),
    "aten::addmm_": _added("addmm"),
    "aten::baddbmm_": _added("baddbmm"),
    "aten::embedding_bag": _looked_up,
    "aten::_embedding_bag_per_sample_weights_backward": _looked_up_dots,
    "aten::scaled_dot_product_attention": _attention,
    **{f"aten::{name}": _no_product for name in WITHOUT_PRODUCTS.split()},
}
"""What fvcore is taught."""
