"""Auxiliary losses that keep a sparse router's load even or its logits small; each a function of a decision.

Every loss is computed for each group on its own and then averaged over the groups, without a weight: a training step
multiplies each by its own coefficient and adds them up. Gradients flow through gates and logits, never through counts.
A decision's gates are those that it was made with, training noise included; its logits are free of that noise.

Sources: named at each function; the mean over groups is that of google-research/vmoe at 942a78b.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from softmoe_ref.routing import Assignments


def load_balance(gates_GNE: Tensor, expert_GNK: Tensor) -> Tensor:
    """Return E sum_e f_e P_e: f_e the share of the N K choices that name expert e, P_e its mean gate.

    It is 1 where either is even and E where one expert gets everything. A choice counts whether it found room or not.

    Source: Fedus et al. 2021, arXiv:2101.03961, section 2.2, for one choice; with f divided by K for several, as
    NVIDIA/Megatron-LM has it.

    Args:
        gates_GNE: the softmax over all experts.
        expert_GNK: the experts that each token asked for.
    """
    chosen_GA = expert_GNK.flatten(1)
    ones_GA = torch.ones_like(chosen_GA, dtype=gates_GNE.dtype)
    counts_GE = torch.zeros_like(gates_GNE[:, 0]).scatter_add_(1, chosen_GA, ones_GA)
    share_GE = counts_GE / chosen_GA.shape[1]
    return gates_GNE.shape[2] * (share_GE * gates_GNE.mean(1)).sum(1).mean()


def gshard(gates_GNE: Tensor) -> Tensor:
    """Return E^2 mean_e(f_e P_e): f_e the share of tokens whose first choice is expert e, P_e its mean gate.

    Source: Lepikhin et al. 2020, arXiv:2006.16668, algorithm 1, with the factor E^2 of google-research/vmoe, which
    makes it `load_balance` of the first choices.
    """
    return load_balance(gates_GNE, gates_GNE.argmax(2, keepdim=True))


def z(logits_GNE: Tensor) -> Tensor:
    """Return the mean over tokens of logsumexp(logits)^2, which keeps logits small.

    Source: Zoph et al. 2022, arXiv:2202.08906 (ST-MoE's router z-loss).
    """
    return logits_GNE.logsumexp(2).square().mean()


def importance(gates_GNE: Tensor) -> Tensor:
    """Return (std / mean)^2 over the experts of their gates summed over the tokens; the gates are free of noise.

    Source: Riquelme et al. 2021, arXiv:2106.05974, appendix A.2.
    """
    return _squared_variation(gates_GNE.sum(1))


def load(logits_GNE: Tensor, noisy_logits_GNE: Tensor, *, noise_std: float, top_k: int) -> Tensor:
    """Return (std / mean)^2 over the experts of their smooth load, the load's stand-in that has a gradient.

    The smooth load of an expert is the mean over tokens of Phi((logit - threshold) / noise_std): the probability that
    the expert would be among the token's K best if its noise alone were drawn again. The threshold is the token's K-th
    largest noisy logit, through which gradients flow too.

    Source: Riquelme et al. 2021, arXiv:2106.05974, appendix A.2; google-research/vmoe at 942a78b, nn/routing.py.

    Args:
        logits_GNE: without noise.
        noisy_logits_GNE: the same with the noise that the decision was made with.
        noise_std: standard deviation of that noise.
        top_k: K.
    """
    threshold_GN1 = noisy_logits_GNE.topk(top_k, dim=2).values[..., -1:]
    chance_GNE = torch.special.ndtr((logits_GNE - threshold_GN1) / noise_std)
    return _squared_variation(chance_GNE.mean(1))


def _squared_variation(values_GE: Tensor) -> Tensor:
    """Return var / mean^2, not the square of std / mean: a standard deviation of 0 has no gradient."""
    return (values_GE.var(1, correction=0) / values_GE.mean(1).square()).mean()


def _importance(decision: Assignments) -> Tensor:
    return importance(decision.gates if decision.noisy_logits is None else _logits(decision).softmax(2))


def _load(decision: Assignments) -> Tensor:
    if decision.noisy_logits is None:
        raise ValueError("loss load needs a decision made with training noise, got one without")
    top_k = decision.expert.shape[2]
    return load(_logits(decision), decision.noisy_logits, noise_std=decision.noise_std, top_k=top_k)


def _logits(decision: Assignments) -> Tensor:
    if decision.logits is None:
        raise ValueError("this loss needs a decision that kept its logits, got one whose router was asked for no loss")
    return decision.logits


TABLE: Final[Mapping[str, Callable[[Assignments], Tensor]]] = {
    "load_balance": lambda decision: load_balance(decision.gates, decision.expert),
    "gshard": lambda decision: gshard(decision.gates),
    "z": lambda decision: z(_logits(decision)),
    "importance": _importance,
    "load": _load,
}

NOISE_ONLY: Final = ("load",)
"""Losses of `TABLE` that exist only where training noise was added."""
