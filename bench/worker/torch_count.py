"""FLOPs of one call by torch's own counter, taught what it leaves out, and what it met beside them."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from bench.counts import Count
from bench.worker.operators import is_negligible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.worker.subject import Subject


class Witness(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lists the operators that are executed: the counter does not say what it passes over.

    Entered before the counter it lies below it, and sees what is left once the counter has taken composite operators
    apart. What is launched without an operator of torch, such as a Triton kernel called by hand, no mode can see.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: Counter[Any] = Counter()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever the operator returns)
        del types
        self.seen[getattr(func, "_overloadpacket", func)] += 1
        return func(*args, **(kwargs or {}))


def count(subject: Subject) -> Count:
    """Returns what torch's counter sees of one call; a compiled layer is counted as it was written."""
    witness, counter = Witness(), FlopCounterMode(display=False, custom_mapping=taught())
    try:
        # the kernels of a compiled layer are not operators any more
        with _frozen(subject), torch.compiler.set_stance("force_eager"), warnings.catch_warnings(), witness, counter:
            warnings.simplefilter("ignore")  # the counter remarks on a module within a compiled one
            subject.call(0)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001  (the call went well before: it is the counter that does not cope)
        return Count(refused=f"torch cannot count it ({type(error).__name__})")
    uncounted: Counter[str] = Counter()
    negligible: Counter[str] = Counter()
    for operator, times in witness.seen.items():
        if operator not in counter.flop_registry:
            (negligible if is_negligible(str(operator)) else uncounted)[str(operator)] += times
    by_operator = {str(operator): int(n) for operator, n in counter.get_flop_counts().get("Global", {}).items() if n}
    total = None if uncounted else sum(by_operator.values())
    return Count(total, by_operator, dict(uncounted), dict(negligible))


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


def taught() -> dict[Any, Callable[..., int]]:
    """Returns formulas for the operators with products that torch's counter does not know, by operator."""
    aten = torch.ops.aten
    return {  # the operators' public names in torch 2.13 begin so
        aten.mv: matrix_vector,
        aten.addmv: added_matrix_vector,
        aten.addmv_: added_matrix_vector,
        aten.dot: inner,
        aten.vdot: inner,
        aten.addmm_: added_product,
        aten.baddbmm_: added_product,
        aten.addbmm: added_product,
        aten.addbmm_: added_product,
        aten._addmm_activation: added_product,  # noqa: SLF001
        aten._grouped_mm: grouped_product,  # noqa: SLF001
        aten._embedding_bag: bag,  # noqa: SLF001
        aten._embedding_bag_forward_only: bag,  # noqa: SLF001
        aten._embedding_bag_per_sample_weights_backward: bag_dots,  # noqa: SLF001
        aten._embedding_bag_backward: bag_outer,  # noqa: SLF001
        aten._embedding_bag_dense_backward: bag_outer_dense,  # noqa: SLF001
        aten._scaled_dot_product_flash_attention_for_cpu: attention,  # noqa: SLF001
        aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward,  # noqa: SLF001
        aten._scaled_dot_product_fused_attention_overrideable: attention,  # noqa: SLF001
        aten._scaled_dot_product_fused_attention_overrideable_backward: attention_backward,  # noqa: SLF001
    }


def matrix_vector(matrix: Sequence[int], *_args: object, **_kwargs: object) -> int:
    """Returns 2 for each number of the matrix, from shapes."""
    return 2 * math.prod(matrix)


def added_matrix_vector(_added: object, matrix: Sequence[int], *_args: object, **_kwargs: object) -> int:
    """Returns 2 for each number of the matrix, from shapes."""
    return matrix_vector(matrix)


def inner(vector: Sequence[int], *_args: object, **_kwargs: object) -> int:
    """Returns 2 for each number of a vector, from shapes."""
    return 2 * math.prod(vector)


def added_product(_added: object, a: Sequence[int], b: Sequence[int], *_args: object, **_kwargs: object) -> int:
    """Returns FLOPs of (..., R, D) times (..., D, F), a matrix or a stack of them, from shapes."""
    return 2 * math.prod(a) * b[-1]


def grouped_product(
    a: torch.Tensor,
    b: torch.Tensor,
    offs: torch.Tensor | None = None,
    *_args: object,
    out_val: object = None,
    **_kwargs: object,
) -> int:
    """Returns 2 per multiply-add of the grouped product.

    Rows (R, D) against (E, D, F), (E, R, D) against columns (D, F), or (D, R) against (R, F) cut along R, the gradient
    of the weights: what lies before the last of `offs` meets all the other numbers once, whatever the groups. Two
    stacks (E, R, D) and (E, D, F) are no more than a batched product.
    """
    del out_val
    if offs is None:
        return 2 * a.numel() * b.shape[-1]
    used = int(offs[-1]) if offs.numel() else 0
    if a.dim() == b.dim():
        return 2 * a.shape[0] * used * b.shape[-1]
    return 2 * used * (a.shape[1] * b.shape[2] if a.dim() == 2 else a.shape[1] * a.shape[2])


grouped_product._get_raw = True  # type: ignore[attr-defined]  # noqa: SLF001  (asks the counter for the arguments)


def bag(
    weight: Sequence[int],
    indices: Sequence[int],
    _offsets: object = None,
    _scale_grad_by_freq: object = None,
    _mode: object = None,
    _sparse: object = None,
    per_sample_weights: Sequence[int] | None = None,
    *_args: object,
    **_kwargs: object,
) -> int:
    """Returns 2 for each number of the weighted rows that are added up, from shapes; rows without weights take none."""
    return 0 if per_sample_weights is None else _looked_up(indices, weight)


def bag_dots(_grad: object, weight: Sequence[int], indices: Sequence[int], *_args: object, **_kwargs: object) -> int:
    """Returns 2 for each number of the rows that are multiplied with their bag's vector, from shapes."""
    return _looked_up(indices, weight)


def bag_outer(
    grad: Sequence[int],
    indices: Sequence[int],
    _offsets: object,
    _offset2bag: object,
    _bag_size: object,
    _maximum_indices: object,
    _num_weights: object,
    _scale_grad_by_freq: object,
    _mode: object,
    _sparse: object,
    per_sample_weights: Sequence[int] | None,
    *_args: object,
    **_kwargs: object,
) -> int:
    """Returns 2 for each number that is weighted and added to the gradient of the rows, from shapes."""
    return 0 if per_sample_weights is None else _looked_up(indices, grad)


def bag_outer_dense(
    grad: Sequence[int],
    indices: Sequence[int],
    _offset2bag: object,
    _bag_size: object,
    _maximum_indices: object,
    _num_weights: object,
    _scale_grad_by_freq: object,
    _mode: object,
    per_sample_weights: Sequence[int] | None,
    *_args: object,
    **_kwargs: object,
) -> int:
    """Returns the same for the operator that `bag_outer` consists of, where it is called by itself."""
    return 0 if per_sample_weights is None else _looked_up(indices, grad)


def _looked_up(indices: Sequence[int], rows: Sequence[int]) -> int:
    """Returns 2 for each number of the rows that indices name."""
    return 2 * math.prod(indices) * rows[-1]


def attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_args: object, **_kwargs: object) -> int:
    """Returns FLOPs of attention from shapes (B, H, M, U): the logits, and the mixture of the values.

    A mask takes nothing away, as in torch's formulas for the kernels on a GPU.
    """
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def attention_backward(
    _grad: object,
    query: Sequence[int],
    key: Sequence[int],
    value: Sequence[int],
    *_args: object,
    **_kwargs: object,
) -> int:
    """Returns FLOPs of its gradient: the logits once more, and two products for each of the two going forward."""
    return 2 * math.prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1])
