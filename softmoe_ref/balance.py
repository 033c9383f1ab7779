"""Balanced assignments of tokens to experts: from scores (T, E) to one expert for each token, without a gradient.

`auction` solves the linear assignment of BASE layers (Lewis et al. 2021, arXiv:2103.16716) after Bertsekas's auction,
in its form with many alike objects (Bertsekas and Castanon 1989). Each expert sells its places. Tokens without a place
bid for the expert with the highest score minus price, as much as it is better than their second choice, plus epsilon;
the expert keeps its highest bidders, and its price is the lowest bid among them as soon as all its places are taken.
The total score ends within T * epsilon of the best there is. Our choices: all free tokens bid at once; epsilon; the
first prices, which are the experts' mean scores, so that an expert that everybody likes starts no price war; the limit
on the rounds.

`sinkhorn` follows NVIDIA Megatron-LM, core/transformer/moe/moe_utils.py: alternate divisions until the E columns of
exp(scores) sum to 1 / E each and the T rows nearly to 1 / T. A token's expert is the largest number of its row.
"""

from typing import Final

import torch
from torch import Tensor

# Of the range of the scores: within 0.3 % of the best total on gaussian scores.
EPSILON: Final = 0.01
# Rounds of the auction: gaussian scores take 10 to 150.
MOST_BIDS: Final = 1000
# Rounds of Sinkhorn: gaussian scores take about 10; very uneven ones never come to rest in float32.
MOST_DIVISIONS: Final = 200
# Megatron-LM: added to every divisor.
GUARD: Final = 1e-8


def auction(scores_TE: Tensor) -> Tensor:
    """Return (T,): the expert of each token, T / E tokens each; the first T mod E experts take one more.

    It waits for the device in every round. What has no place after `MOST_BIDS` rounds takes the places that are left,
    in order, so that it ends with a balanced load whatever the scores are.
    """
    num_tokens, num_experts = scores_TE.shape
    device = scores_TE.device
    if num_experts == 1:
        return torch.zeros(num_tokens, dtype=torch.int64, device=device)
    expert_E = torch.arange(num_experts, device=device)
    places_E = num_tokens // num_experts + (expert_E < num_tokens % num_experts).long()
    price_E = scores_TE.mean(0)
    low, high = (scores_TE - price_E).aminmax()
    epsilon = EPSILON * float(high - low) or 1.0
    price_E = price_E.masked_fill(places_E == 0, torch.inf)  # fewer tokens than experts
    choice_T = torch.full((num_tokens,), num_experts, device=device)  # E: has no place
    bid_T = torch.zeros_like(scores_TE[:, 0])
    for _ in range(MOST_BIDS):
        (free,) = torch.where(choice_T == num_experts)
        if len(free) == 0:
            return choice_T
        choice_T[free], bid_T[free] = _bids(scores_TE[free], price_E, epsilon)
        order_T = bid_T.argsort(descending=True, stable=True)
        order_T = order_T[choice_T[order_T].argsort(stable=True)]  # by expert, the highest bid first
        sorted_T = choice_T[order_T]
        end_E = torch.searchsorted(sorted_T, expert_E, right=True)
        first_E = torch.searchsorted(sorted_T, expert_E)
        rank_T = torch.arange(num_tokens, device=device) - first_E[sorted_T]
        choice_T[order_T[rank_T >= places_E[sorted_T]]] = num_experts
        last_E = order_T[(first_E + places_E - 1).clamp(0, num_tokens - 1)]
        price_E = torch.where((end_E - first_E >= places_E) & (places_E > 0), bid_T[last_E], price_E)
    return _fill(choice_T, places_E)


def _bids(scores_TE: Tensor, price_E: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return for each token the expert that it wants, and its bid."""
    value_TE = scores_TE - price_E
    choice_T1 = value_TE.argmax(1, keepdim=True)
    best_T1 = value_TE.gather(1, choice_T1)
    second_T1 = value_TE.scatter(1, choice_T1, -torch.inf).amax(1, keepdim=True)
    return choice_T1[:, 0], price_E[choice_T1[:, 0]] + (best_T1 - second_T1)[:, 0] + epsilon


def _fill(choice_T: Tensor, places_E: Tensor) -> Tensor:
    """Return the choices, with those tokens that have none in the places that are left."""
    experts = len(places_E)
    taken_E = torch.bincount(choice_T, minlength=experts + 1)[:experts]
    left = torch.repeat_interleave(torch.arange(experts, device=choice_T.device), places_E - taken_E)
    return choice_T.masked_scatter(choice_T == experts, left)


def sinkhorn(scores_TE: Tensor, tolerance: float = 1e-4) -> Tensor:
    """Return (T, E): exp(scores) times one number for each row and one for each column, see the head of this file.

    It waits for the device in every round, and ends when the columns' numbers move by less than `tolerance` on average.
    """
    num_tokens, num_experts = scores_TE.shape
    # a row's largest exponential is 1: its own factor makes up for it, and nothing overflows
    power_TE = (scores_TE - scores_TE.amax(1, keepdim=True)).exp()
    column_E = torch.ones_like(scores_TE[0])
    for _ in range(MOST_DIVISIONS):
        row_T1 = 1 / (num_tokens * ((power_TE * column_E).sum(1, keepdim=True) + GUARD))
        before_E, column_E = column_E, 1 / (num_experts * ((power_TE * row_T1).sum(0) + GUARD))
        if not (column_E - before_E).abs().mean() > tolerance:
            break
    return power_TE * row_T1 * column_E
