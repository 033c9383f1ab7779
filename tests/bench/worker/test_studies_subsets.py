"""The subset study: its images, its parts against the layer itself, and what it says of one small model."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from bench import plan
from bench.claims.subset_models import SHARES, model
from bench.records import Case, Settings, Status
from bench.worker import main
from bench.worker.studies import subsets
from bench.worker.subject import UnsupportedError, keywords, resolve


def small(monkeypatch: pytest.MonkeyPatch, num_experts: int = 4, slots: int = 2) -> tuple[Case, dict[str, Any]]:
    monkeypatch.setattr(subsets, "EPOCHS", 2)
    case = model(num_experts, slots, 1)
    result = main.attempt(plan.task(case, 0, Settings()))
    assert result["status"] is Status.OK, result["detail"]
    return case, {seen["metric"]: seen["samples"] for seen in result["observations"]}


def briefly_trained(num_experts: int, slots: int) -> tuple[Any, subsets.Model, subsets.Images, subsets.Images]:
    task = plan.task(model(num_experts, slots, 0), 0, Settings())
    train, test = subsets.digits(0, 4, 16)
    return task, subsets.trained(task, train, epochs=1), train, test


def test_tokens_are_the_squares_of_scikit_learns_digits() -> None:
    from sklearn.datasets import load_digits

    known = load_digits()
    train, test = subsets.digits(3, 4, 16)
    assert (len(train.classes), len(test.classes)) == (1198, 599)
    images = torch.cat([train.tokens, test.tokens]).view(-1, 2, 2, 4, 4).transpose(2, 3).reshape(-1, 64) * 16
    labelled = {(*map(int, pixels), int(c)) for pixels, c in zip(known.data, known.target, strict=True)}
    found = [(*map(int, row), int(c)) for row, c in zip(images, torch.cat([train.classes, test.classes]), strict=True)]
    assert set(found) == labelled
    assert len(found) == len(known.target)


def test_a_seed_has_its_own_split() -> None:
    first, again, other = (subsets.digits(seed, 4, 16)[1].tokens for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("seq_len", "d_model"), [(4, 15), (3, 16), (16, 16)])
def test_tokens_that_do_not_tile_an_image_are_refused(seq_len: int, d_model: int) -> None:
    with pytest.raises(ValueError, match="do not tile 8 x 8"):
        subsets.digits(0, seq_len, d_model)


def test_without_scikit_learn_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UnsupportedError, match="pip install scikit-learn"):
        subsets.digits(0, 4, 16)


@pytest.mark.parametrize(("num_experts", "slots"), [(4, 1), (4, 3), (8, 1)])
def test_parts_add_up_to_the_layer_and_to_its_subsets(num_experts: int, slots: int) -> None:
    task, trained, _, test = briefly_trained(num_experts, slots)
    with torch.inference_mode():
        parts, score_BE = subsets.parts(trained, test)
        whole = parts.logits.sum(1) + parts.bias
        torch.testing.assert_close(whole, trained.logits(test.tokens), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(score_BE.sum(1), torch.full((599,), 4.0), rtol=1e-4, atol=1e-4)
        for k in (1, num_experts // 2):
            layer = resolve(task.target)(**{**keywords(task), "active_experts": k})
            layer.load_state_dict(trained.layer.state_dict())
            guess = subsets.Model(layer, trained.head).logits(test.tokens).argmax(1)
            by_parts = parts.right(subsets.largest(score_BE, k))
            # sums in another order: a tie between two classes may fall the other way
            assert (by_parts == (guess == test.classes)).double().mean() > 0.995


def test_largest_takes_the_lower_place_among_equals() -> None:
    kept = subsets.largest(torch.tensor([[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0]]), 1)
    assert kept.tolist() == [[False, True, False, False], [True, False, False, False]]


def test_two_experts_that_know_one_class_each() -> None:
    """Expert 0 always says class 0, expert 1 always class 1, and louder: which one is kept decides."""
    images = torch.tensor([0, 0, 0, 1])
    logits = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).expand(4, 2, 2)
    seen = subsets.Parts(logits, torch.zeros(2), images)
    assert seen.right(torch.tensor([[True, False]])).tolist() == [True, True, True, False]
    assert seen.right(torch.tensor([[True, True]])).tolist() == [False, False, False, True]
    learnt = subsets.Parts(logits, torch.zeros(2), torch.tensor([1, 1, 1, 0]))  # in training expert 1 was the better
    found = {o.metric: o.samples for o in subsets._best(seen, learnt, 1)}
    assert found == {"accuracy_best_k1": (1.0,), "accuracy_best_fixed_k1": (0.25,)}


def test_a_model_says_how_it_does_with_some_of_its_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    case, found = small(monkeypatch)
    kept = [1, 2, 3]
    kinds = ("chosen", "random", "worst", "static", "best", "best_fixed")
    named = {f"accuracy_{kind}_k{k}" for kind, k in itertools.product(kinds, kept)}
    assert set(found) == {*named, "accuracy_all", "parameters_model", "parameters_experts", "parameters_router"}
    assert all(len(samples) == (10 if "random" in name else 1) for name, samples in found.items())
    assert all(0 <= share <= 1 for name in named for share in found[name])
    assert len(set(found["accuracy_random_k2"])) > 1
    for k in kept:
        assert found[f"accuracy_best_k{k}"][0] >= max(found[f"accuracy_{kind}_k{k}"][0] for kind in kinds)
    assert found["parameters_experts"] == [3 * 16 * 512]
    assert found["parameters_router"] == [16 * 4 * 2 + 1]
    assert found["parameters_model"] == [3 * 16 * 512 + 16 * 4 * 2 + 1 + 64 * 10 + 10]
    assert small(monkeypatch)[1] == found
    assert case["threads"] == 1


def test_many_experts_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = small(monkeypatch, num_experts=16, slots=1)
    assert "accuracy_chosen_k12" in found
    assert not [name for name in found if "best" in name]


def test_the_shares_are_those_of_the_claim() -> None:
    assert subsets.SHARES == SHARES
    assert subsets.kept(2) == [1]
    assert subsets.kept(16) == [2, 4, 8, 12]
