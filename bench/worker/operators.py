"""Which operators of torch have no products: what a counter of FLOPs may leave out, as the formulas do."""

from __future__ import annotations

import torch

WORDS = """
adaptive_avg_pool2d add alias all amax amin aminmax any arange argmax argmin argsort as_strided avg_pool2d batch_norm
bernoulli bincount broadcast_to bucketize cat chunk clone constant_pad_nd copy count_nonzero cummax cummin cumprod
cumsum detach diff dropout embedding embedding_dense empty empty_like empty_strided expand expand_as exponential eye
fill flatten flip floor_divide full full_like fused_adam fused_adamw fused_dropout fused_rms_norm fused_sgd gather
gelu grid_sampler group_norm histc index index_add index_copy index_fill index_put index_put_impl index_select
instance_norm is_nonzero is_pinned item kthvalue layer_norm lift lift_fresh linalg_vector_norm local_scalar_dense
log_sigmoid log_sigmoid_forward log_softmax logsumexp masked_fill masked_scatter masked_select max
max_pool2d_with_indices maximum mean median min minimum mode msort multinomial nansum native_batch_norm native_dropout
native_group_norm native_layer_norm new_empty new_empty_strided new_full new_ones new_zeros nll_loss nll_loss_forward
nonzero nonzero_numpy norm normal numel numpy_T one_hot ones ones_like pad permute prod rand rand_like randint randn
randn_like randperm record_stream repeat repeat_interleave reshape reshape_alias resize resolve_conj rms_norm roll
safe_softmax scalar_tensor scatter scatter_add scatter_reduce searchsorted select_scatter set silu slice_scatter
softmax sort split split_with_sizes stack std std_mean sum sum_to_size take_along_dim to to_copy topk tril triu
unflatten uniform unique2 unique_dim unsafe_index unsafe_index_put unsafe_view upsample_bilinear2d upsample_nearest2d
value_selecting_reduction var var_mean zero zeros zeros_like
"""
NEGLIGIBLE = frozenset(WORDS.split())
"""Words of operators without products that torch does not mark as such; in-place forms and gradients alike."""


def is_negligible(name: str) -> bool:
    """Returns whether an operator has no products, from its name as a trace (aten::mm) or torch (aten.mm) has it.

    One that is not torch's own may do anything; marks for a profiler, such as those around an optimizer's step, do not
    compute.
    """
    space, _, word = name.replace("::", ".").partition(".")
    if space != "aten":
        return space == "profiler"
    plain = word.strip("_").removeprefix("foreach_").removesuffix("_data").removesuffix("_backward").rstrip("_")
    return plain in NEGLIGIBLE or any(_is_marked(getattr(torch.ops.aten, known, None)) for known in (word, plain))


def _is_marked(packet: torch._ops.OpOverloadPacket | None) -> bool:
    """Returns whether torch says of an operator that it has no products: as pointwise, or as a view.

    One of its forms is enough: those for plain numbers, or that write to a tensor they are given, carry no tags.
    """
    if packet is None:
        return False
    forms = [getattr(packet, overload) for overload in packet.overloads()]  # type: ignore[no-untyped-call]
    return any(form.is_view or torch.Tag.pointwise in form.tags for form in forms)
