from collections.abc import Callable
from typing import Any

import pytest
import torch

from softmoe_ref import MoE, Weights, blocked, oracle, soft
from softmoe_ref.attended import Attended
from softmoe_ref.blocked import Blocked
from softmoe_ref.shared_exp import SharedExp

FILES = {
    "soft_B1_m8_d32_E8_p4_scaled_inputs": 4,
    "soft_B2_m16_d32_E4_p1": 1,
    "soft_B2_m16_d32_E4_p4_scale5": 4,
    "soft_B2_m20_d32_E8_capfactor1_bankers_round": 2,
}
FORMS: dict[str, dict[str, object]] = {
    "einsum": {"backend": "einsum"},
    "fused": {"backend": "fused"},
    "low": {"backend": "fused", "memory": "low"},
    "sdpa": {"backend": "sdpa"},
}
KINDS = {"einsum": Weights, "fused": SharedExp, "low": Blocked, "sdpa": Attended}
SIZES = {"d_model": 8, "d_ff": 12, "num_experts": 3, "slots_per_expert": 2}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stem", FILES)
def test_everything_equals_the_authors_code(
    stem: str, form: str, golden: Callable[..., Any], run: Callable[..., Any]
) -> None:
    vectors = golden(stem)
    layer = vectors.layer("soft", slots_per_expert=FILES[stem], **FORMS[form])
    x = vectors["x"]
    decision: Any = layer.route(x)
    assert isinstance(decision, KINDS[form])
    close = {"rtol": 0, "atol": 2e-6}
    torch.testing.assert_close(decision.dispatch_weights, vectors["router/dispatch_weights"], **close)
    torch.testing.assert_close(decision.combine_weights, vectors["router/combine_weights"], **close)
    slots_EBPD = decision.dispatch(x).view(layer.experts.num_experts, len(x), FILES[stem], -1)
    torch.testing.assert_close(slots_EBPD.transpose(0, 1), vectors["slots_in_fp32"], **close)
    y, gradients = run(layer, x, vectors["cotangent"])
    torch.testing.assert_close(y, vectors["y_fp32"], **close)
    for name, expected in vectors.gradients("grad_fp32").items():
        torch.testing.assert_close(gradients[name], expected, rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("stem", FILES)
def test_the_oracle_equals_the_authors_code(
    stem: str, golden: Callable[..., Any], run_oracle: Callable[..., Any]
) -> None:
    vectors = golden(stem)
    layer = vectors.layer("soft", slots_per_expert=FILES[stem])
    truth, gradients = run_oracle(layer, vectors["x"], vectors["cotangent"])
    torch.testing.assert_close(truth.y.float(), vectors["y_fp32"], rtol=0, atol=2e-6)
    for name, expected in vectors.gradients("grad_fp32").items():
        torch.testing.assert_close(gradients[name].float(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("normalize", ["logits", "tokens", "none"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("batch", "length", "num_experts", "slots"),
    [(1, 1, 1, 1), (2, 5, 1, 3), (3, 7, 5, 1), (2, 9, 3, 4), (1, 16, 4, 4)],
)
def test_value_and_every_gradient_equal_the_oracle(
    batch: int,
    length: int,
    num_experts: int,
    slots: int,
    form: str,
    normalize: str,
    make: Callable[..., MoE],
    agree: Callable[..., None],
) -> None:
    axes = {"num_experts": num_experts, "slots_per_expert": slots, "normalize": normalize, **FORMS[form]}
    agree(make("soft", d_model=7, d_ff=5, **axes), batch, length)


@pytest.mark.parametrize("normalize", ["logits", "none"])
@pytest.mark.parametrize("scale", [1e4, 200.0, -200.0, 29.0, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_form_is_right_for_any_scale(
    scale: float, normalize: str, dtype: torch.dtype, make: Callable[..., MoE], run: Callable[..., Any]
) -> None:
    results = {}
    x, cotangent = torch.randn(2, 2, 9, 8, generator=torch.Generator().manual_seed(1), dtype=dtype)
    for form, axes in FORMS.items():
        layer = make("soft", **SIZES, **axes, normalize=normalize, dtype=dtype)
        with torch.no_grad():
            layer.router.scale.fill_(scale)
        results[form] = run(layer, x, cotangent)
    y, gradients = results.pop("einsum")
    assert torch.isfinite(y).all()
    # logits of 1000 are known to 1e-4 in float32, and so are their softmaxes: there, only that nothing breaks
    rough = max(1.0, abs(scale) / 200) * (1e-4 if dtype == torch.float32 else 1e-11)
    vague = dtype == torch.float32 and (abs(scale) == 1e4 or (abs(scale) == 200 and normalize == "none"))
    for form, (other_y, other_gradients) in results.items():
        assert torch.isfinite(other_y).all()
        if vague:
            continue
        torch.testing.assert_close(other_y, y, rtol=rough, atol=rough, msg=lambda m, f=form: f"{f}: {m}")
        for name, gradient in gradients.items():
            most = rough * (1 + float(gradient.abs().max()))
            torch.testing.assert_close(other_gradients[name], gradient, rtol=rough, atol=most)


def test_blocks_of_any_size_give_the_same(
    make: Callable[..., MoE], agree: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocked, "BLOCK_NUMBERS", 1)  # the least: 16 tokens at a time
    for normalize in ("logits", "none"):
        agree(make("soft", **SIZES, backend="fused", memory="low", normalize=normalize), 2, 37)


def test_many_large_logits_are_mixed_block_by_block(make: Callable[..., MoE], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soft, "MANY_LOGITS", 100)
    layer = make("soft", **SIZES, backend="fused")
    with torch.no_grad():
        layer.router.scale.fill_(1e3)
    assert isinstance(layer.route(torch.randn(1, 9, 8, dtype=torch.float64)), Weights)
    assert isinstance(layer.route(torch.randn(2, 9, 8, dtype=torch.float64)), Blocked)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_the_compiled_layer_is_the_same_function(make: Callable[..., MoE], run: Callable[..., Any]) -> None:
    layer = make("soft", **SIZES, backend="compile")
    plain = make("soft", **SIZES, backend="einsum")
    assert list(layer.state_dict()) == list(plain.state_dict())
    x, cotangent = torch.randn(2, 2, 9, 8, dtype=torch.float64)
    (y, gradients), (plain_y, plain_gradients) = run(layer, x, cotangent), run(plain, x, cotangent)
    torch.testing.assert_close(y, plain_y, rtol=0, atol=1e-10)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, plain_gradients[name], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"backend": "sdpa", "memory": "low"}, "memory must be asked of backend fused, one at a time, got 'sdpa'"),
        ({"active_experts": 1}, "active_experts must be asked of backend fused, one at a time, got 'einsum'"),
        ({"backend": "fused", "active_experts": 4}, "active_experts must be at most num_experts = 3, got 4"),
        ({"backend": "fused", "active_experts": 0}, "active_experts must be a whole number of at least 1, got 0"),
        ({"backend": "fused", "memory": "little"}, "memory must be one of normal, low, got 'little'"),
        (
            {"backend": "fused", "renormalize_active": True},
            "renormalize_active must go with active_experts: the weights of all experts sum to 1 already",
        ),
    ],
)
def test_what_cannot_be_asked_together(axes: dict[str, object], message: str, make: Callable[..., MoE]) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        make("soft", **SIZES, **axes)


@pytest.mark.parametrize(
    ("normalize", "scale", "kind"),
    [
        ("logits", 30.0, SharedExp),
        ("logits", -30.5, Weights),
        ("tokens", 30.5, Weights),
        ("none", 1.0, SharedExp),
        ("none", 1e3, Weights),
        ("logits", float("nan"), Weights),
    ],
)
def test_one_exponential_serves_both_softmaxes_only_while_the_logits_are_close(
    normalize: str, scale: float, kind: type, make: Callable[..., MoE]
) -> None:
    layer = make("soft", **SIZES, backend="fused", normalize=normalize)
    with torch.no_grad():
        layer.router.scale.fill_(scale)
    assert isinstance(layer.route(torch.randn(2, 9, 8, dtype=torch.float64)), kind)


@pytest.mark.parametrize("form", FORMS)
def test_each_slot_is_a_convex_combination_of_the_tokens_of_its_sequence(form: str, make: Callable[..., MoE]) -> None:
    x = torch.randn(3, 9, 8, dtype=torch.float64)
    decision: Any = make("soft", **SIZES, **FORMS[form]).route(x)
    weights = decision.dispatch_weights.detach()
    assert weights.shape == (3, 9, 3, 2)
    assert float(weights.min()) > 0
    torch.testing.assert_close(weights.sum(1), torch.ones_like(weights[:, 0]))
    torch.testing.assert_close(
        decision.dispatch(x), torch.einsum("bmep,bmd->ebpd", weights, x).reshape(3, 6, 8), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("form", FORMS)
def test_each_output_is_a_convex_combination_of_all_slots(form: str, make: Callable[..., MoE]) -> None:
    decision: Any = make("soft", **SIZES, **FORMS[form]).route(torch.randn(3, 9, 8, dtype=torch.float64))
    weights = decision.combine_weights.detach()
    assert float(weights.min()) > 0
    torch.testing.assert_close(weights.sum((2, 3)), torch.ones_like(weights[..., 0, 0]))
    ones = torch.ones(3, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(decision.combine(ones), torch.ones(3, 9, 8, dtype=torch.float64))


@pytest.mark.parametrize("form", FORMS)
def test_it_is_equivariant_to_a_permutation_of_the_tokens(form: str, make: Callable[..., MoE]) -> None:
    layer = make("soft", **SIZES, **FORMS[form])
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    order = torch.randperm(9)
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_the_length_of_tokens_counts_unless_the_mixed_tokens_are_normalised_too(
    form: str, make: Callable[..., MoE]
) -> None:
    x = 100 * torch.randn(2, 9, 8, dtype=torch.float64)
    for normalize, ignored in (("logits", False), ("tokens", True), ("none", False)):
        layer = make("soft", **SIZES, **FORMS[form], normalize=normalize)
        same = torch.allclose(layer(3 * x), layer(x), rtol=0, atol=1e-6)
        assert same == ignored, normalize


@pytest.mark.parametrize("form", FORMS)
def test_the_facts_of_a_decision(form: str, make: Callable[..., MoE]) -> None:
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    decision: Any = make("soft", **SIZES, **FORMS[form]).route(x)
    assert decision.assigned().tolist() == [[True] * 3] * 18
    assert decision.load().tolist() == [4.0] * 3
    torch.testing.assert_close(decision.importance(), decision.combine_weights.sum((0, 1, 3)))
    assert float(decision.importance().detach().sum()) == pytest.approx(18)
    assert (decision.drop_rate(), decision.unrouted_rate()) == (0.0, 0.0)


def test_how_many_matrices_of_tokens_by_slots_are_kept_for_the_backward_pass(make: Callable[..., MoE]) -> None:
    largest = {}
    for form, axes in FORMS.items():
        layer = make("soft", d_model=4, d_ff=4, num_experts=4, slots_per_expert=32, **axes)
        saved: dict[int, int] = {}
        x = torch.randn(1, 128, 4, dtype=torch.float64)

        def note(tensor: torch.Tensor, saved: dict[int, int] = saved) -> torch.Tensor:
            saved[tensor.untyped_storage().data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            layer(x.requires_grad_())
        largest[form] = sum(size == 128 * 128 for size in saved.values())
    assert largest == {"einsum": 2, "fused": 1, "low": 0, "sdpa": 0}


def test_the_oracle_takes_a_layer_as_it_is(make: Callable[..., MoE]) -> None:
    layer = make("soft", **SIZES, dtype=torch.float32)
    x = torch.randn(2, 9, 8)
    truth = oracle.forward(layer, x)
    torch.testing.assert_close(layer(x).double(), truth.y, rtol=0, atol=1e-5)
