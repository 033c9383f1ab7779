"""What is compared: each table yields lines of one interleaved measurement, and the ratios that matter in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping  # noqa: TC003
from dataclasses import dataclass, field

import calls
import limits
import torch

VIT_S = {"d_model": 384, "d_ff": 1536}
SOFT_PEERS = ("soft:soft_moe_pytorch", "soft:soft_mixture_of_experts", "soft:soft_moe_bwconrad")


@dataclass(frozen=True)
class Line:
    """One measurement: calls by name, and the pairs whose ratio is wanted, with the most that it should be."""

    title: str
    calls: Mapping[str, Callable[[], object]]
    ratios: Mapping[tuple[str, str], float | None] = field(default_factory=dict)


def soft() -> Iterator[Line]:
    """Soft MoE at the shape of ViT S/16, batch 8, 8 to 128 experts."""
    most = {
        ("forward", 8): (1.12, 0.82), ("forward", 32): (1.08, 0.60), ("forward", 128): (1.05, 0.56),
        ("forward+backward", 8): (1.20, 0.90), ("forward+backward", 32): (1.35, 1.00),
        ("forward+backward", 128): (1.65, 0.80),
    }  # fmt: skip
    x = torch.randn(8, 196, 384)
    for experts, slots in ((8, 24), (32, 6), (128, 2)):
        axes = VIT_S | {"num_experts": experts, "slots_per_expert": slots}
        for mode in calls.MODES:
            backward = mode != "forward"
            timed: dict[str, Callable[[], object]] = {"limit": limits.soft(x, 1536, experts, slots, backward=backward)}
            # at 128 experts every layer holds 0.6 GB with its gradients: few of them, or they press on each other
            for backend in ("fused", "compile") if experts == 128 else ("fused", "einsum", "sdpa", "compile"):
                timed[backend] = calls.of(calls.ours("soft", **axes, backend=backend), x, mode)
            for target in SOFT_PEERS:
                layer = calls.peer(target, **axes)
                if layer is not None:
                    timed[target.partition(":")[2]] = calls.of(layer, x, mode)
            to_limit, to_loops = most[mode, experts]
            ratios: dict[tuple[str, str], float | None] = {("fused", "limit"): to_limit}
            ratios |= {("fused", name): None for name in timed if name not in ("fused", "limit")}
            ratios |= {("fused", "soft_moe_pytorch"): to_loops, ("fused", "soft_mixture_of_experts"): 1.05}
            ratios |= {("fused", "compile"): 1.05}
            yield Line(f"soft, {experts} experts, {mode}", timed, {p: m for p, m in ratios.items() if p[1] in timed})


def long() -> Iterator[Line]:
    """Soft MoE at 4096 tokens x 4096 slots, width 256."""
    x, axes = torch.randn(1, 4096, 256), {"d_model": 256, "d_ff": 256, "num_experts": 8, "slots_per_expert": 512}
    for mode, most in (("forward", 0.75), ("forward+backward", 0.65)):
        timed: dict[str, Callable[[], object]] = {"limit": limits.soft(x, 256, 8, 512, backward=mode != "forward")}
        for name, form in (("fused", {}), ("low", {"memory": "low"})):
            timed[name] = calls.of(calls.ours("soft", **axes, backend="fused", **form), x, mode)
        for backend in ("sdpa", "einsum"):
            timed[backend] = calls.of(calls.ours("soft", **axes, backend=backend), x, mode)
        layer = calls.peer("soft:soft_moe_pytorch", **axes)
        ratios: dict[tuple[str, str], float | None] = {("fused", "limit"): None, ("fused", "einsum"): None}
        if layer is not None:
            timed["soft_moe_pytorch"] = calls.of(layer, x, mode)
            ratios |= {(name, "soft_moe_pytorch"): None for name in ("limit", "low", "sdpa")}
            ratios |= {("fused", "soft_moe_pytorch"): most}
        yield Line(f"soft, 4096 tokens x 4096 slots, {mode}", timed, ratios)


def sparse() -> Iterator[Line]:
    """Dropless top-2 at the shape of ViT S/16, batch 8, 8 to 128 experts, GELU and SwiGLU."""
    most = {
        ("forward", 8): 1.15, ("forward", 32): 1.10, ("forward", 128): 1.10,
        ("forward+backward", 8): 1.25, ("forward+backward", 32): 1.35, ("forward+backward", 128): 1.50,
    }  # fmt: skip
    x = torch.randn(8, 196, 384)
    for experts in (8, 32, 128):
        for activation in ("gelu", "swiglu"):
            axes = VIT_S | {"num_experts": experts, "top_k": 2}
            own = axes | {"renormalize": True, "activation": activation}
            for mode in calls.MODES:
                layer = calls.ours("token_choice", **own, backend="grouped")
                loads = [int(load) for load in layer.route(x).load()]
                swiglu, backward = activation == "swiglu", mode != "forward"
                timed: dict[str, Callable[[], object]] = {
                    "limit": limits.sparse(loads, 384, 1536, swiglu=swiglu, backward=backward),
                    "grouped": calls.of(layer, x, mode),
                    "indexed": calls.of(calls.ours("token_choice", **own, backend="indexed"), x, mode),
                }
                ratios: dict[tuple[str, str], float | None] = {("grouped", "limit"): most[mode, experts]}
                ratios |= {("grouped", "indexed"): None}
                other = calls.peer("sparse:mixtral_transformers", **axes, backend="grouped_mm") if swiglu else None
                if other is not None:
                    timed["transformers grouped_mm"] = calls.of(other, x, mode)
                    ratios |= {("grouped", "transformers grouped_mm"): 0.90 if experts == 128 else 1.0}
                yield Line(f"top-2, {experts} experts, {activation}, {mode}", timed, ratios)


def growth() -> Iterator[Line]:
    """What more experts cost at the same work: sparse backward, and Soft MoE at a fixed number of slots."""
    x = torch.randn(8, 196, 128)
    axes = {"d_model": 128, "d_ff": 512, "top_k": 2, "backend": "grouped"}
    timed: dict[str, Callable[[], object]] = {
        str(experts): calls.of(calls.ours("token_choice", **axes, num_experts=experts), x, "forward+backward")
        for experts in (8, 128)
    }
    yield Line("top-2, 128 against 8 experts, d 128, forward+backward", timed, {("128", "8"): 3.0})
    wide = torch.randn(8, 512, 384)
    for mode in calls.MODES:
        timed = {}
        for experts in (8, 32, 128, 512):
            layer = calls.ours("soft", **VIT_S, num_experts=experts, slots_per_expert=512 // experts, backend="fused")
            timed[str(experts)] = calls.of(layer, wide, mode)
            timed[f"limit {experts}"] = limits.soft(wide, 1536, experts, 512 // experts, backward=mode != "forward")
        pairs = [(str(e), "8") for e in (32, 128, 512)] + [(f"limit {e}", "limit 8") for e in (32, 128, 512)]
        yield Line(f"soft, 512 slots over more experts, {mode}", timed, dict.fromkeys(pairs))


def bf16() -> Iterator[Line]:
    """bfloat16 against float32, on this CPU's own arithmetic."""
    x = torch.randn(8, 196, 384)
    for name, axes in (
        ("soft", {"num_experts": 8, "slots_per_expert": 24, "backend": "fused"}),
        ("soft", {"num_experts": 128, "slots_per_expert": 2, "backend": "fused"}),
        ("token_choice", {"num_experts": 8, "top_k": 2, "backend": "grouped"}),
    ):
        for mode in calls.MODES:
            timed = {
                dtype: calls.of(calls.ours(name, **VIT_S, **axes).to(form), x.to(form), mode)
                for dtype, form in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
            }
            yield Line(f"{name}, {axes['num_experts']} experts, {mode}", timed, {("bfloat16", "float32"): 1.5})


def subset() -> Iterator[Line]:
    """8 of 64 experts at the shape of ViT B/16 (arXiv:2409.00879: n = 64, one slot each): FLOPs allow 4.85."""
    axes = {"d_model": 768, "d_ff": 768, "num_experts": 64, "slots_per_expert": 1, "backend": "fused"}
    for batch in (1, 8, 64):
        x = torch.randn(batch, 197, 768)
        timed = {
            "8 of 64": calls.of(calls.ours("soft", **axes, active_experts=8), x, "forward"),
            "all 64": calls.of(calls.ours("soft", **axes), x, "forward"),
        }
        yield Line(f"soft, 8 of 64 experts, batch {batch}", timed, {("8 of 64", "all 64"): 1 / (0.8 * 4.85)})


TABLES: dict[str, Callable[[], Iterator[Line]]] = {
    "soft": soft,
    "long": long,
    "sparse": sparse,
    "growth": growth,
    "bf16": bf16,
    "subset": subset,
}
