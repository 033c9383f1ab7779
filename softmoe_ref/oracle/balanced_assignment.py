"""Oracle of balanced assignment: the same auction, bid by bid, and the same divisions, number by number."""

import math

import torch
from torch import Tensor

from softmoe_ref.oracle import loops
from softmoe_ref.oracle.loops import Parameters, Truth

Numbers = list[list[float]]


def balanced_assignment(parameters: Parameters, x: Tensor, *, assignment: str, training: bool) -> Truth:
    """Return balanced assignment: shared out over the whole batch in training, the best expert in evaluation."""
    weight = parameters["router.weight"]
    tokens = [token for sequence in x for token in sequence]
    logits = [token @ weight for token in tokens]
    scores = [row.tolist() for row in logits]
    if training:
        scores = auctioned(scores) if assignment == "auction" else divided(scores)
    served: list[list[tuple[int, Tensor]]] = [[] for _ in range(weight.shape[1])]
    shares = []
    for t, row in enumerate(scores):
        best = row.index(max(row))
        gate = 1 / (1 + torch.exp(-logits[t][best]))
        served[best].append((t, gate))
        shares.append((1 - gate) * tokens[t])
    truth = loops.outputs(parameters, x, served)
    if assignment == "sinkhorn":
        return truth
    return Truth(truth.y + torch.stack(shares).reshape(x.shape), truth.assigned)


def auctioned(scores: Numbers) -> Numbers:
    """Return 1 where the auction puts a token and 0 elsewhere."""
    count, experts = len(scores), len(scores[0])
    places = [count // experts + (e < count % experts) for e in range(experts)]
    prices = [math.fsum(row[e] for row in scores) / count for e in range(experts)]
    centred = [row[e] - prices[e] for row in scores for e in range(experts)]
    epsilon = 0.01 * (max(centred) - min(centred)) or 1.0
    sellers = [e for e in range(experts) if places[e]]
    holders: list[list[tuple[float, int]]] = [[] for _ in range(experts)]  # (minus the bid, token), best first
    free = list(range(count))
    for _ in range(1000):
        bids = []
        for t in free:
            values = sorted((prices[e] - scores[t][e], e) for e in sellers)[:2]
            lead = values[1][0] - values[0][0] if len(values) > 1 else 0.0
            bids.append((values[0][1], prices[values[0][1]] + lead + epsilon, t))
        for e, bid, t in bids:
            holders[e].append((-bid, t))
        free = []
        for e in sellers:
            holders[e].sort()
            free += [t for _, t in holders[e][places[e] :]]
            del holders[e][places[e] :]
            if len(holders[e]) == places[e]:
                prices[e] = -holders[e][-1][0]
        if not free:
            break
    left = [e for e in sellers for _ in range(places[e] - len(holders[e]))]
    for t, e in zip(sorted(free), left, strict=True):
        holders[e].append((0.0, t))
    return [[float(any(t == held for _, held in holders[e])) for e in range(experts)] for t in range(count)]


def divided(scores: Numbers) -> Numbers:
    """Return exp(scores) times one number for each row and each column, as Sinkhorn finds them."""
    count, experts = len(scores), len(scores[0])
    powers = [[math.exp(value - max(row)) for value in row] for row in scores]
    columns = [1.0] * experts
    rows: list[float] = []
    for _ in range(200):
        rows = [1 / (count * (sum(p * c for p, c in zip(row, columns, strict=True)) + 1e-8)) for row in powers]
        sums = [sum(r * row[e] for r, row in zip(rows, powers, strict=True)) for e in range(experts)]
        before, columns = columns, [1 / (experts * (total + 1e-8)) for total in sums]
        if sum(abs(new - old) for new, old in zip(columns, before, strict=True)) / experts <= 1e-4:
            break
    return [[p * c * r for p, c in zip(row, columns, strict=True)] for r, row in zip(rows, powers, strict=True)]
