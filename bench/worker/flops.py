"""FLOPs of one call as two counters see them, and what they did not see."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.records import Flag
from bench.worker.finding import Finding, one

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.records import Task
    from bench.worker.subject import Subject

ELEMENTWISE = """
abs add all amax any arange argmax argsort as_strided bincount bitwise_and bitwise_not bitwise_or broadcast_to
bucketize cat ceil chunk clamp clamp_min clone copy count_nonzero cumsum detach diff div embedding empty empty_like eq
exp expand expand_as eye fill flatten floor_divide full full_like gather ge gelu gt index index_add index_copy
index_fill index_put index_select item le linalg_vector_norm log log_sigmoid logical_and lt masked_fill max maximum
mean min mT mul ne neg new_empty new_full new_zeros nonzero nonzero_numpy numel numpy_T one_hot ones ones_like pad
permute pow rand reciprocal relu repeat repeat_interleave reshape resize resolve_conj round rsqrt rsub scatter
scatter_add scatter_reduce searchsorted select sigmoid silu slice softmax sort split split_with_sizes sqrt square
squeeze stack std sub sum t take_along_dim to to_copy topk transpose tril triu unbind unflatten unsqueeze var view
view_as where zero zeros zeros_like
"""
NEGLIGIBLE = frozenset(ELEMENTWISE.split())
"""Operations of torch without matrix products, in-place forms alike; the formulas leave them out too."""


def observe(subject: Subject, task: Task) -> Finding:
    """Returns FLOPs of one call by torch's counter, and by fvcore where the mode is a forward pass."""
    counted = _torch(subject)
    found, missed = (None, {}) if task.case["mode"] != "forward" else _fvcore(subject)
    flags = (Flag("counter_incomplete", f"fvcore cannot count {', '.join(sorted(missed))}"),) if missed else ()
    return Finding(
        observations=one("flops_torch", "FLOP", counted) + one("flops_fvcore", "FLOP", None if missed else found),
        flags=flags,
        facts={"fvcore_uncounted": missed},
    )


def _grouped_product(
    a: torch.Tensor,
    b: torch.Tensor,
    offs: torch.Tensor | None = None,
    *_args: object,
    out_val: object = None,
    **_kwargs: object,
) -> int:
    """Returns 2 per multiply-add of the grouped product, which torch's counter leaves out.

    Rows (R, D) against (E, D, F), or (D, R) against (R, F) cut along R, the gradient of the weights: each of the rows
    that `offs` ends at meets D * F numbers once, whatever the groups.
    """
    del out_val
    if offs is None or a.dim() != 2:
        raise ValueError(f"grouped product of {tuple(a.shape)} and {tuple(b.shape)}: no formula for this form")
    width = a.shape[1] if b.dim() == 3 else a.shape[0]
    used = int(offs[-1]) if offs.numel() else 0
    return 2 * used * width * b.shape[-1]


_grouped_product._get_raw = True  # type: ignore[attr-defined]  # noqa: SLF001  (asks the counter for the arguments)


def _bag(weight: Any, indices: Any, *_args: object, **_kwargs: object) -> int:  # noqa: ANN401
    """Returns 2 for each number of the weighted rows that are added up, from shapes."""
    return 2 * int(math.prod(indices)) * int(weight[-1])


def _bag_dots(_grad: object, weight: Any, indices: Any, *_args: object, **_kwargs: object) -> int:  # noqa: ANN401
    """Returns 2 for each number of the rows that are multiplied with their bag's vector, from shapes."""
    return _bag(weight, indices)


def _bag_outer(grad: Any, indices: Any, *_args: object, **_kwargs: object) -> int:  # noqa: ANN401
    """Returns 2 for each number that is added to the gradient of the rows, from shapes."""
    return _bag(grad, indices)


def _attention_forward(
    query: Sequence[int], key: Sequence[int], *_args: object, out_val: object = None, **_kwargs: object
) -> int:
    """Returns FLOPs of attention from the shapes (B, H, M, U): the logits, and the mixture of the values."""
    del out_val
    return 4 * math.prod(query) * key[-2]


def _attention_backward(
    _grad: object, query: Sequence[int], key: Sequence[int], *_args: object, out_val: object = None, **_kwargs: object
) -> int:
    """Returns FLOPs of its gradient: the logits once more, and two products for each of the two going forward."""
    del out_val
    return 10 * math.prod(query) * key[-2]


def _torch(subject: Subject) -> int:
    """Returns FLOPs by torch's counter, taught grouped products, looked-up rows and attention on a CPU."""
    aten = torch.ops.aten
    taught: dict[Any, Any] = {  # the operators' public names in torch 2.13 begin so
        aten._grouped_mm: _grouped_product,  # noqa: SLF001
        aten._embedding_bag: _bag,  # noqa: SLF001
        aten._embedding_bag_forward_only: _bag,  # noqa: SLF001
        aten._embedding_bag_per_sample_weights_backward: _bag_dots,  # noqa: SLF001
        aten._embedding_bag_backward: _bag_outer,  # noqa: SLF001
        aten._embedding_bag_dense_backward: _bag_outer,  # noqa: SLF001
        aten._scaled_dot_product_flash_attention_for_cpu: _attention_forward,  # noqa: SLF001
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,  # noqa: SLF001
    }
    counter = FlopCounterMode(display=False, custom_mapping=taught)
    # a compiled layer is counted as it was written: its kernels are not operators any more
    with _frozen(subject), torch.compiler.set_stance("force_eager"), counter:
        subject.call(0)
    return int(counter.get_total_flops())


@contextmanager
def _frozen(subject: Subject) -> Iterator[None]:
    """Lets the parameters take no gradient while a forward pass is counted.

    In inference mode they have no graph, but the counter looks for it at each that is handed to a submodule.
    """
    trained = [p for p in subject.layer.parameters() if p.requires_grad and subject.mode == "forward"]
    for parameter in trained:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad = True


def _fvcore(subject: Subject) -> tuple[int | None, dict[str, int]]:
    """Returns twice fvcore's multiply-adds and the operations with products that it could not count."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and tracing warns of every branch on data
        from fvcore.nn import FlopCountAnalysis  # noqa: PLC0415  (only this pass needs it)

        try:
            analysis = FlopCountAnalysis(subject.layer, subject.batches[0])
            analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False)
            analysis.tracer_warnings("none")
            for name, handle in HANDLES.items():
                analysis.set_op_handle(name, handle)
            total = int(2 * analysis.total())
            missed = {
                n: c
                for n, c in analysis.unsupported_ops().items()
                if n.removeprefix("aten::").strip("_") not in NEGLIGIBLE
            }
        except Exception as error:  # noqa: BLE001  (jit tracing refuses some modules in many ways; it is not our case)
            return None, {f"the layer ({type(error).__name__})": 1}
    return total, missed


def _shape(value: Any) -> list[int]:  # noqa: ANN401  (a torch.jit value has no public type)
    """Returns the shape of a traced value."""
    from fvcore.nn.jit_handles import get_shape  # noqa: PLC0415

    return list(get_shape(value))


def _einsum(inputs: list[Any], _outputs: list[Any]) -> Counter[str]:
    """Counts a two-operand einsum exactly; fvcore's own handle rounds to four digits."""
    equation = inputs[0].toIValue()
    operands = [_shape(node) for node in inputs[1].node().inputs()]
    if len(operands) != 2:
        raise ValueError(f"einsum {equation} of {len(operands)} operands: its cost depends on the order taken")
    sizes: dict[str, int] = {}
    for letters, shape in zip(equation.replace(" ", "").split("->")[0].split(","), operands, strict=True):
        sizes |= dict(zip(letters, shape, strict=True))
    return Counter(einsum=math.prod(sizes.values()))


def _baddbmm(inputs: list[Any], _outputs: list[Any]) -> Counter[str]:
    """Counts baddbmm, which fvcore does not know."""
    batch, rows, inner = _shape(inputs[1])
    return Counter(baddbmm=batch * rows * inner * _shape(inputs[2])[-1])


def _looked_up(inputs: list[Any], _outputs: list[Any]) -> Counter[str]:
    """Counts a weighted sum of rows, which fvcore does not know."""
    return Counter(embedding_bag=math.prod(_shape(inputs[1])) * _shape(inputs[0])[-1])


def _looked_up_dots(inputs: list[Any], _outputs: list[Any]) -> Counter[str]:
    """Counts the products of rows with their bags' vectors, which fvcore does not know."""
    return Counter(embedding_bag=math.prod(_shape(inputs[2])) * _shape(inputs[1])[-1])


def _attention(inputs: list[Any], _outputs: list[Any]) -> Counter[str]:
    """Counts attention over (B, H, M, U), which fvcore does not know."""
    return Counter(attention=2 * math.prod(_shape(inputs[0])) * _shape(inputs[1])[-2])


def _no_product(_inputs: list[Any], _outputs: list[Any]) -> Counter[str]:
    """Counts nothing, as the formulas do; fvcore has a handle of its own, which `None` would not take away."""
    return Counter()


HANDLES = {
    "aten::einsum": _einsum,
    "aten::baddbmm": _baddbmm,
    "aten::embedding_bag": _looked_up,
    "aten::_embedding_bag_per_sample_weights_backward": _looked_up_dots,
    "aten::scaled_dot_product_attention": _attention,
    "aten::layer_norm": _no_product,
}
"""What fvcore is taught."""
