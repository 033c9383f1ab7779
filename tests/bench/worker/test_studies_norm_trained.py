"""Small networks that learn the Euclidean norm."""

import pytest
import torch
from recorded import SETTINGS

from bench import plan
from bench.claims.claim import study
from bench.records import Status
from bench.worker import main
from bench.worker.studies import norm_trained


def test_half_of_the_inputs_are_opposite_pairs_and_all_have_their_norm() -> None:
    x_BMD, norm_B = norm_trained.inputs(64, (4, 2), torch.Generator().manual_seed(0))
    assert x_BMD.shape == (64, 4, 2)
    assert torch.allclose(x_BMD.flatten(1).norm(dim=1), norm_B)
    assert 0 <= norm_B.min() < 2
    assert 8 < norm_B.max() <= norm_trained.LONGEST
    pairs, rest = x_BMD[:32], x_BMD[32:]
    assert torch.equal(pairs[:, 1], -pairs[:, 0])
    assert not pairs[:, 2:].any()
    assert rest[:, 2:].any(dim=2).all()


def test_training_learns_and_each_seed_is_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SEEDS", 2), ("STEPS", 150), ("TESTED", 512)):
        monkeypatch.setattr(norm_trained, name, value)
    axes = {"backend": "einsum", "normalize": "none", "seq_len": 4, "d_model": 2, "d_ff": 16, "batch_size": 64}
    case = study("norm_trained", "soft", num_experts=4, slots_per_expert=1, **axes)
    outcome = main.attempt(plan.task(case, 0, SETTINGS))
    assert outcome["status"] is Status.OK, outcome["detail"]
    found = {o["metric"]: o["samples"] for o in outcome["observations"]}
    assert len(set(found["norm_rmse"])) == len(set(found["norm_rmse_opposite"])) == 2
    assert max(found["norm_rmse"]) < found["norm_rmse_constant"][0] / 2
    assert found["norm_rmse_constant"][0] == pytest.approx(10 / 12**0.5, rel=0.05)
