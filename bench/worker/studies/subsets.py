"""How well a small Soft MoE classifier does with some of its experts: those of algorithm 1, random, worst, best ones.

One case is one model: a Soft MoE layer on the tokens of a handwritten digit and a linear head on all its outputs,
trained here and looked at on images it has not seen. No residual path goes around the layer, so that an expert which
is left out is missed.

Source: Chung et al. 2024, arXiv:2409.00879, algorithm 1 (`softmoe_ref.subset`). Like their MNIST run (released code,
YoungseogChung/beyond-param-count at bd47c9c): four tokens of raw pixels, experts without biases, Adam, weights of the
kept experts not renormalised, random subsets drawn anew for each image. Their definition of the best subset was not at
hand; the two that are used here are at `_best`.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import inputs
from bench.records import Observation
from bench.worker.finding import Finding, one
from bench.worker.subject import UnsupportedError, keywords, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.records import Task

SHARES = (Fraction(1, 8), Fraction(1, 4), Fraction(1, 2), Fraction(3, 4))
"""Of the experts, how many are kept; where that is a whole number."""

CLASSES = 10
TEST_IMAGES = 599  # a third of 1797
EPOCHS = 25
RATE = 1e-2
RANDOM_DRAWS = 10  # as in the paper's released code
LARGEST_SEARCH = 8
"""Up to so many experts all subsets are tried: 70 of four out of eight."""


@dataclass(frozen=True)
class Images:
    """Digits as tokens (N, M, D) with pixels in 0..1, and their classes (N,)."""

    tokens: Tensor
    classes: Tensor


@dataclass(frozen=True)
class Model:
    """A Soft MoE layer and the linear head on its flattened output (B, M * D)."""

    layer: Any
    head: nn.Linear

    def logits(self, tokens: Tensor) -> Tensor:
        """Returns (B, classes) for tokens (B, M, D)."""
        found: Tensor = self.head(self.layer(tokens).flatten(1))
        return found


@dataclass(frozen=True)
class Parts:
    """What each expert adds to the logits of each image (B, E, classes), the bias (classes,), and the true classes."""

    logits: Tensor
    bias: Tensor
    classes: Tensor

    def right(self, kept_BE: Tensor) -> Tensor:
        """Returns (B,): whether an image's class comes out with the experts kept in its row; one row may be for all."""
        kept = kept_BE.to(self.logits.dtype).expand(self.logits.shape[:2])
        guess = (torch.einsum("BE,BEC->BC", kept, self.logits) + self.bias).argmax(1)
        return guess == self.classes


def observe(task: Task) -> Finding:
    """Returns parameters and test accuracies of one trained model, random subsets with a sample for each draw."""
    case = task.case
    if case["threads"] is not None:
        torch.set_num_threads(int(case["threads"]))
    seed = int(case["seed"] or 0)
    train, test = digits(seed, int(case["seq_len"] or 0), int(case["d_model"] or 0))
    model = trained(task, train, epochs=EPOCHS)
    with torch.inference_mode():
        return Finding((*_sizes(model), *_accuracies(task, model, train, test)))


def digits(seed: int, seq_len: int, d_model: int) -> tuple[Images, Images]:
    """Returns training and test images of scikit-learn's 1797 digits of 8 x 8 pixels, split by the seed.

    A token holds the pixels of a square patch, raster order in it and among them.

    Raises:
        ValueError: square patches of that many pixels do not tile 8 x 8.
        UnsupportedError: scikit-learn is not installed.
    """
    side, across = math.isqrt(d_model), math.isqrt(seq_len)
    if side * side != d_model or across * across != seq_len or side * across != 8:
        raise ValueError(f"seq_len={seq_len} patches of d_model={d_model} pixels do not tile 8 x 8")
    found = importlib.util.find_spec("sklearn")  # finds the folder without a second of running the package
    folders = () if found is None else tuple(found.submodule_search_locations or ())
    paths = [path for folder in folders if (path := Path(folder, "datasets", "data", "digits.csv.gz")).is_file()]
    if not paths:
        raise UnsupportedError("the digits of scikit-learn are not installed here: pip install scikit-learn")
    rows = np.loadtxt(paths[0], delimiter=",", dtype=np.float32)
    pixels = torch.from_numpy(rows[:, :-1] / 16).view(-1, across, side, across, side)
    tokens = pixels.transpose(2, 3).reshape(-1, seq_len, d_model)
    classes = torch.from_numpy(rows[:, -1].astype(np.int64))
    order = torch.from_numpy(inputs.rng(seed, "digits").permutation(len(rows)))
    test, train = order[:TEST_IMAGES], order[TEST_IMAGES:]
    return Images(tokens[train], classes[train]), Images(tokens[test], classes[test])


def trained(task: Task, images: Images, *, epochs: int) -> Model:
    """Returns the model of a case after so many epochs of Adam at a constant rate, cross-entropy as the loss."""
    case = task.case
    seed, batch = int(case["seed"] or 0), int(case["batch_size"] or 0)
    torch.manual_seed(seed)
    layer = resolve(task.target)(**keywords(task))
    model = Model(layer, nn.Linear(images.tokens[0].numel(), CLASSES))
    parameters = [*model.layer.parameters(), *model.head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=RATE, fused=True)
    draw = inputs.rng(seed, "batches")
    for _ in range(epochs):
        order = torch.from_numpy(draw.permutation(len(images.classes)))
        for some in torch.split(order, batch):
            loss = functional.cross_entropy(model.logits(images.tokens[some]), images.classes[some])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model


def parts(model: Model, images: Images) -> tuple[Parts, Tensor]:
    """Returns what each expert adds to the logits, and the scores (B, E) of algorithm 1.

    Output and head are sums over experts, and weights are not renormalised: each subset's logits are sums of these.
    """
    decision = model.layer.route(images.tokens)
    combine_BMEP = decision.combine_weights
    batch, _, experts, slots = combine_BMEP.shape
    y_EBPD = model.layer.experts(decision.dispatch(images.tokens)).reshape(experts, batch, slots, -1)
    y_BEMD = torch.einsum("BMEP,EBPD->BEMD", combine_BMEP, y_EBPD)
    logits_BEC = functional.linear(y_BEMD.flatten(2), model.head.weight)
    return Parts(logits_BEC, model.head.bias, images.classes), combine_BMEP.sum((1, 3))


def kept(num_experts: int) -> list[int]:
    """Returns the numbers of experts that are kept, in ascending order."""
    return [int(share * num_experts) for share in SHARES if (share * num_experts).denominator == 1]


def _sizes(model: Model) -> Iterator[Observation]:
    """Yields the number of trainable values: of the whole model, of its experts, of its router."""
    count = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in (("experts", model.layer.experts), ("router", model.layer.router), ("head", model.head))
    }
    yield from one("parameters_model", "count", sum(count.values()))
    yield from one("parameters_experts", "count", count["experts"])
    yield from one("parameters_router", "count", count["router"])


def _accuracies(task: Task, model: Model, train: Images, test: Images) -> Iterator[Observation]:
    """Yields the share of test images whose class comes out, by which experts are kept.

    `accuracy_static` keeps the same ones for every image, those with the largest scores over the training images: what
    algorithm 1 is worth beyond it comes from choosing for each image.
    """
    guess = model.logits(test.tokens).argmax(1)
    yield from one("accuracy_all", "ratio", _mean(guess == test.classes))
    seen, score_BE = parts(model, test)
    learnt, score_in_training = parts(model, train)
    experts = score_BE.shape[1]
    draw = inputs.rng(int(task.case["seed"] or 0), "subsets")
    for k in kept(experts):
        with_some = Model(resolve(task.target)(**{**keywords(task), "active_experts": k}), model.head)
        with_some.layer.load_state_dict(model.layer.state_dict())
        chosen = with_some.logits(test.tokens).argmax(1) == test.classes
        yield from one(f"accuracy_chosen_k{k}", "ratio", _mean(chosen))
        random = [torch.from_numpy(draw.random(tuple(score_BE.shape))) for _ in range(RANDOM_DRAWS)]
        hits = tuple(_mean(seen.right(largest(numbers, k))) for numbers in random)
        yield Observation(f"accuracy_random_k{k}", "ratio", hits)
        yield from one(f"accuracy_worst_k{k}", "ratio", _mean(seen.right(largest(-score_BE, k))))
        always = largest(score_in_training.mean(0, keepdim=True), k)
        yield from one(f"accuracy_static_k{k}", "ratio", _mean(seen.right(always)))
        if experts <= LARGEST_SEARCH:
            yield from _best(seen, learnt, k)


def _best(seen: Parts, learnt: Parts, k: int) -> Iterator[Observation]:
    """Yields two accuracies of the best among all subsets of k experts.

    `accuracy_best` is per image and in hindsight: an image counts where any subset at all gives its class, which no
    choice can know beforehand. `accuracy_best_fixed` is of one subset for all images, the one that does best on the
    training images, the first among equals.
    """
    experts = seen.logits.shape[1]
    masks = [_mask(subset, experts) for subset in itertools.combinations(range(experts), k)]
    yield from one(f"accuracy_best_k{k}", "ratio", _mean(torch.stack([seen.right(mask) for mask in masks]).any(0)))
    fixed = max(masks, key=lambda mask: _mean(learnt.right(mask)))
    yield from one(f"accuracy_best_fixed_k{k}", "ratio", _mean(seen.right(fixed)))


def largest(score_BE: Tensor, k: int) -> Tensor:
    """Returns (B, E) bool: true for the k largest numbers of each row, the lower place first among equals."""
    order = score_BE.sort(dim=1, descending=True, stable=True).indices[:, :k]
    return torch.zeros_like(score_BE, dtype=torch.bool).scatter_(1, order, value=True)


def _mask(subset: Sequence[int], experts: int) -> Tensor:
    """Returns (1, E) bool: true for the experts of a subset."""
    mask = torch.zeros(1, experts, dtype=torch.bool)
    mask[0, list(subset)] = True
    return mask


def _mean(right: Tensor) -> float:
    """Returns the share of true values."""
    return float(right.double().mean())
