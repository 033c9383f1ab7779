import pytest
import torch

from softmoe_ref import shared_exp
from softmoe_ref.shared_exp import LARGEST_LOGIT, SharedExp


def decision(logits_BMS: torch.Tensor) -> SharedExp:
    """The decision whose tokens are their own logits, since every slot's vector is a unit vector."""
    return SharedExp.of(logits_BMS, torch.eye(logits_BMS.shape[2], dtype=logits_BMS.dtype), 2, unit_tokens=False)


def test_its_weights_are_the_two_softmaxes() -> None:
    logits_BMS = torch.randn(2, 5, 6, dtype=torch.float64)
    ours = decision(logits_BMS)
    torch.testing.assert_close(ours.dispatch_weights, logits_BMS.softmax(1).view(2, 5, 3, 2))
    torch.testing.assert_close(ours.combine_weights, logits_BMS.softmax(2).view(2, 5, 3, 2))


def test_mixing_equals_the_dense_decision_written_out() -> None:
    ours = decision(torch.randn(2, 5, 6, dtype=torch.float64))
    x, y = torch.randn(2, 5, 4, dtype=torch.float64), torch.randn(3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(ours.dispatch(x), ours.weights().dispatch(x))
    torch.testing.assert_close(ours.combine(y), ours.weights().combine(y))


def test_logits_tokens_and_slots_pass_gradcheck() -> None:
    logits_BMS = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    x = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda logits, tokens: decision(logits).dispatch(tokens), (logits_BMS, x))
    assert torch.autograd.gradcheck(lambda logits, slots: decision(logits).combine(slots), (logits_BMS, y))


@pytest.mark.parametrize("frozen", ["logits", "mixed"])
def test_a_frozen_side_gets_no_gradient_and_does_not_disturb_the_other(frozen: str) -> None:
    logits_BMS = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=frozen != "logits")
    x = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=frozen != "mixed")
    y = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=frozen != "mixed")
    leaf = x if frozen == "logits" else logits_BMS
    ours = decision(logits_BMS)
    (found,) = torch.autograd.grad(ours.dispatch(x).square().sum() + ours.combine(y).square().sum(), leaf)
    written = decision(logits_BMS).weights()
    (expected,) = torch.autograd.grad(written.dispatch(x).square().sum() + written.combine(y).square().sum(), leaf)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("piece", [1, 40, 10**6])
def test_pieces_of_any_size_give_the_same(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits_BMS = torch.randn(3, 40, 6, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 40, 4, dtype=torch.float64)

    def found() -> list[torch.Tensor]:
        ours = decision(logits_BMS)
        out = ours.combine(ours.dispatch(x).square())
        return [out, *torch.autograd.grad(out.square().sum(), logits_BMS)]

    whole = found()
    monkeypatch.setattr(shared_exp, "PIECE", piece)
    for ours, expected in zip(found(), whole, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_float32_has_room_for_the_largest_logit() -> None:
    logits_BMS = torch.full((1, 64, 64), -LARGEST_LOGIT)
    logits_BMS[0, 0, 0] = LARGEST_LOGIT
    ours, truth = decision(logits_BMS), decision(logits_BMS.double())
    x, y = torch.randn(1, 64, 8), torch.randn(32, 2, 8)
    torch.testing.assert_close(ours.dispatch(x).double(), truth.dispatch(x.double()), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ours.combine(y).double(), truth.combine(y.double()), rtol=1e-4, atol=1e-6)
