"""Whether a layer's output depends on the length of its tokens."""

import pytest
from examples import AXES, SHAPE
from installed import parameters
from recorded import SETTINGS

from bench import layers, plan
from bench.claims.claim import study
from bench.records import Status
from bench.worker import main


def changes(layer: str, **axes: object) -> list[float]:
    case = study("scale", layer, **{**AXES[layer], **SHAPE, "input": "gaussian", **axes})
    outcome = main.attempt(plan.task(case, 0, SETTINGS))
    assert outcome["status"] is Status.OK, outcome["detail"]
    assert [o["metric"] for o in outcome["observations"]] == ["scale_change"]
    package = layers.TABLE[layer].package
    assert outcome["facts"] == ({} if package is None else {"package_version": package.installed})
    return outcome["observations"][0]["samples"]


@pytest.mark.parametrize("backend", ["fused", "einsum"])
def test_only_normalised_tokens_lose_their_length(backend: str) -> None:
    assert max(changes("soft", normalize="tokens", backend=backend)) < 1e-5
    for normalize in ("logits", "none"):
        found = changes("soft", normalize=normalize, backend=backend)
        assert len(set(found)) == 4
        assert min(found) > 0.1


def test_the_seed_decides_everything() -> None:
    assert changes("soft", seed=1) == changes("soft", seed=1) != changes("soft", seed=2)


@pytest.mark.parametrize("layer", parameters(["soft_moe_pytorch", "soft_moe_bwconrad"]))
def test_packages_that_mix_normalised_tokens(layer: str) -> None:
    assert max(changes(layer)) < 1e-5


@pytest.mark.parametrize("layer", parameters(["soft_mixture_of_experts"]))
def test_packages_that_mix_the_tokens_themselves(layer: str) -> None:
    assert min(changes(layer)) > 0.1
