"""Other people's layers against their twins; each test needs the package and is skipped where it is not installed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from installed import needs, parameters
from torch import Tensor

from softmoe_ref import MoE, peers
from softmoe_ref.peers import Peer, peer, soft, sparse

SIZES = {"d_model": 24, "d_ff": 40, "num_experts": 4}
SOFT = {
    "soft_moe_pytorch": soft.soft_moe_pytorch,
    "soft_mixture_of_experts": soft.soft_mixture_of_experts,
    "soft_moe_bwconrad": soft.soft_moe_bwconrad,
}
RANDOM = {"mixture_of_experts": sparse.mixture_of_experts, "st_moe_pytorch": sparse.st_moe_pytorch}


def build(name: str) -> Peer:
    torch.manual_seed(0)
    if name in SOFT:
        return SOFT[name](**SIZES, slots_per_expert=3)
    return RANDOM[name](**SIZES) if name in RANDOM else sparse.mixtral_transformers(**SIZES, top_k=2)


def mixtral(**axes: object) -> sparse.Mixtral:
    torch.manual_seed(0)
    return sparse.mixtral_transformers(**{**SIZES, **axes})


def tokens(*, dtype: torch.dtype = torch.float64) -> Tensor:
    return 3 * torch.randn(2, 30, 24, dtype=dtype, generator=torch.Generator().manual_seed(1))


def value_and_gradient(layer: torch.nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    y = layer(leaf)
    cotangent = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad((y * cotangent).sum(), leaf)
    return y.detach(), gradient


# 1e-6 is what ours has under the root of a length, and Mixtral's softmax is float32 whatever comes
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        *parameters(["soft_moe_pytorch"], 1e-6),
        *parameters(["soft_mixture_of_experts"], 1e-12),
        *parameters(["soft_moe_bwconrad"], 1e-6),
        *parameters(["mixtral_transformers"], 1e-5),
    ],
)
def test_output_and_gradient_are_those_of_the_twin(name: str, tolerance: float) -> None:
    layer = build(name).double()
    twin = layer.twin()
    assert isinstance(twin, MoE)
    x = tokens()
    (y, gradient), (true_y, true_gradient) = value_and_gradient(layer, x), value_and_gradient(twin, x)
    torch.testing.assert_close(y, true_y, rtol=0, atol=tolerance * float(true_y.abs().max()))
    torch.testing.assert_close(gradient, true_gradient, rtol=0, atol=tolerance * float(true_gradient.abs().max()))
    truth = peers.truth(layer, x)
    torch.testing.assert_close(y, truth.y, rtol=0, atol=tolerance * float(truth.y.abs().max()))


@pytest.mark.parametrize("name", parameters([*SOFT, "mixtral_transformers"]))
def test_a_twin_has_weights_of_its_own(name: str) -> None:
    layer = build(name).double()
    before = layer(tokens())
    with torch.no_grad():
        for parameter in layer.twin().parameters():
            parameter.zero_()
    assert torch.equal(layer(tokens()), before)
    assert before.abs().max() > 0


@pytest.mark.parametrize("name", parameters([*SOFT, *RANDOM, "mixtral_transformers"]))
def test_experts_have_the_hidden_width_asked_for(name: str) -> None:
    widths = {size for weight in build(name).layer.experts.parameters() for size in weight.shape}
    assert widths & {40, 80}
    assert not widths & {39, 41, 26, 27, 78}


@pytest.mark.parametrize("d_ff", [1, 31, 64, 1000])
@pytest.mark.parametrize("name", parameters(["soft_moe_pytorch", "st_moe_pytorch"]))
def test_a_multiple_that_the_package_truncates_comes_out_whole(name: str, d_ff: int) -> None:
    axes = {"d_model": 24, "d_ff": d_ff, "num_experts": 2}
    layer = soft.soft_moe_pytorch(**axes, slots_per_expert=1) if name in SOFT else sparse.st_moe_pytorch(**axes)
    last = [module for module in layer.modules() if isinstance(module, torch.nn.Linear)][-1]
    assert last.in_features == d_ff


@needs("soft_moe_pytorch")
def test_a_learnt_gamma_leaves_no_twin() -> None:
    layer = build("soft_moe_pytorch")
    with torch.no_grad():
        layer.layer.norm.gamma[3] = 2.0
    with pytest.raises(
        ValueError, match=r"^the gammas of soft-moe-pytorch must be 1 for it to have a twin, got others$"
    ):
        layer.twin()


@pytest.mark.parametrize("name", parameters(["soft_moe_pytorch", "soft_moe_bwconrad"]))
def test_packages_that_mix_normalised_tokens_lose_their_length(name: str) -> None:
    layer, x = build(name).double(), tokens()
    torch.testing.assert_close(layer(10 * x), layer(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", parameters(RANDOM))
def test_packages_that_toss_coins_do_so_in_evaluation_too_and_have_no_twin(name: str) -> None:
    layer, x = build(name).eval(), tokens(dtype=torch.float32)
    assert not torch.equal(layer(x), layer(x))
    assert layer(x).shape == x.shape
    with pytest.raises(ValueError, match=rf"^{name}\.{name} has no twin: it refuses tokens at random$"):
        peers.truth(layer, x)


# the block of Mixtral


@needs("mixtral_transformers")
def test_the_implementations_of_mixtral_compute_the_same() -> None:
    x = tokens(dtype=torch.float32)
    eager, grouped = (value_and_gradient(mixtral(backend=backend), x) for backend in sparse.MIXTRAL_BACKENDS)
    torch.testing.assert_close(grouped, eager, rtol=0, atol=2e-5)
    with pytest.raises(ValueError, match=r"^backend must be one of eager, grouped_mm, got 'fast'$"):
        mixtral(backend="fast")


@needs("mixtral_transformers")
@pytest.mark.parametrize("top_k", [1, 3])
def test_mixtral_routes_as_its_twin(top_k: int) -> None:
    layer, x = mixtral(top_k=top_k).double(), tokens()
    decision, ours = layer.route(x), layer.twin().route(x)
    assert torch.equal(decision.assigned(), ours.assigned())
    assert torch.equal(decision.load(), ours.load())
    torch.testing.assert_close(decision.importance().double(), ours.importance(), rtol=0, atol=1e-5)
    assert (decision.drop_rate(), decision.unrouted_rate()) == (0.0, 0.0)


# how they are imported


def test_adapters_import_no_package_before_they_build() -> None:
    program = (
        "import sys\n"
        "from softmoe_ref.peers import soft, sparse\n"
        "names = {'soft_moe_pytorch', 'soft_mixture_of_experts', 'soft_moe', 'transformers', 'mixture_of_experts'}\n"
        "found = (names | {'st_moe_pytorch', 'timm', 'einops'}) & set(sys.modules)\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose `__init__` fails with a warning before, and whose module `layer` does not."""
    folder = tmp_path / "somebodys"
    folder.mkdir()
    (folder / "__init__.py").write_text("import warnings\nwarnings.warn('old')\nraise RuntimeError('no operator')\n")
    (folder / "layer.py").write_text("WIDTH = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "somebodys", raising=False)
    return folder


def test_a_module_is_loaded_without_its_package(package: Path) -> None:
    assert peer.load_alone("somebodys", "layer").WIDTH == 7
    assert "somebodys" not in sys.modules
    assert package.name == "somebodys"


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'nobodys'$"):
        peer.load_alone("nobodys", "layer")


def test_a_broken_module_looks_absent_and_a_sound_one_stays(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="no operator"):
        peer.load(package.name)
    monkeypatch.setitem(sys.modules, package.name, None)  # so that it is put back
    monkeypatch.delitem(sys.modules, package.name)
    peer.hide_if_broken(package.name)
    with pytest.raises(ModuleNotFoundError):
        peer.load(package.name)
    peer.hide_if_broken("json")
    assert peer.load("json").dumps(1) == "1"


def test_warnings_of_importing_are_the_package_s_affair(package: Path) -> None:
    (package / "__init__.py").write_text("import warnings\nwarnings.warn('old')\nWIDTH = 5\n")
    assert peer.load(package.name).WIDTH == 5
