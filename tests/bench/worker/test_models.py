"""A model as a subject: images in, logits out, and every pass over it."""

from dataclasses import asdict

import examples
import pytest
import torch
from recorded import SETTINGS

from bench import costs, layers, plan
from bench.records import Case, Status
from bench.worker import main, memory, routing
from bench.worker.subject import Subject, build, keywords
from softmoe_ref.vit import VARIANTS


def model(name: str = "vit soft", **axes: object) -> Case:
    return plan.single("vit", {**examples.MODELS[name], "batch_size": 2, **axes})


def subject_of(case: Case) -> Subject:
    return build(plan.task(case, 0, SETTINGS))


def test_harness_and_models_know_the_same_variants() -> None:
    assert {name: asdict(v) for name, v in costs.VARIANTS.items()} == {n: asdict(v) for n, v in VARIANTS.items()}


@pytest.mark.parametrize("name", examples.MODELS)
def test_every_model_takes_its_axes(name: str) -> None:
    task = plan.task(model(name), 0, SETTINGS)
    assert set(keywords(task)) == set(task.keywords) >= {"layer", "variant", "moe"}


@pytest.mark.parametrize("name", examples.MODELS)
def test_its_parameters_are_those_of_the_formula(name: str) -> None:
    case = model(name)
    task = plan.task(case, 0, SETTINGS)
    found = {o.metric: o.samples[0] for o in memory.observe(build(task), task).observations}
    cost = layers.cost(case)
    assert cost is not None
    assert (found["parameters"], found["parameter_memory"]) == (cost.parameters, cost.parameter_bytes)


def test_it_is_called_with_images_and_returns_logits() -> None:
    subject = subject_of(model())
    assert [tuple(batch.shape) for batch in subject.batches] == [(2, 3, 64, 64)] * 4
    assert len({float(batch.sum()) for batch in subject.batches}) == 4
    assert subject.call(0).shape == subject.cotangent.shape == (2, 10)


def test_training_computes_every_gradient_but_that_of_the_images() -> None:
    subject = subject_of(model(mode="forward_backward"))
    seen: list[str] = []
    for name, parameter in subject.layer.named_parameters():
        parameter.register_hook(lambda _grad, name=name: seen.append(name))
    subject.call(0)
    assert sorted(seen) == sorted(name for name, _ in subject.layer.named_parameters())
    assert not any(batch.requires_grad for batch in subject.batches)
    assert all(p.grad is None for p in subject.layer.parameters())


def test_its_routing_figures_are_the_means_of_its_blocks() -> None:
    task = plan.task(model("vit token_choice", top_k=1, capacity_factor=0.5), 0, SETTINGS)
    subject = build(task)
    finding = routing.observe(subject, task)
    found = {o.metric: o.samples[0] for o in finding.observations}
    first, second = subject.layer.route(subject.batches[0])
    assert found["drop_rate"] == (first.drop_rate() + second.drop_rate()) / 2 >= 0.5
    assert found["unrouted_rate"] == found["drop_rate"]
    peaks = [float(decision.load().max() / decision.load().mean()) for decision in (first, second)]
    assert found["load_imbalance"] == pytest.approx(sum(peaks) / 2)
    assert finding.facts == {}


@pytest.mark.parametrize("mode", ["forward", "forward_backward"])
@pytest.mark.parametrize("name", examples.MODELS)
def test_inspection_and_timing_go_well(name: str, mode: str) -> None:
    case = model(name, mode=mode)
    inspection, timing = (main.attempt(plan.task(case, repeat, SETTINGS)) for repeat in (0, 1))
    assert inspection["status"] is Status.OK, inspection["detail"]
    assert timing["status"] is Status.OK, timing["detail"]
    observed = {o["metric"]: o["samples"][0] for o in inspection["observations"]}
    assert observed["activation_memory"] > 0
    assert observed["flops_torch"] > 0


def test_half_precision_reaches_images_and_weights() -> None:
    subject = subject_of(model(dtype="bfloat16"))
    assert {tensor.dtype for tensor in (*subject.batches, *subject.layer.parameters())} == {torch.bfloat16}
    assert subject.call(0).isfinite().all()


def test_what_returns_no_logits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for made, shape in ((Flat, r"\(2, 12288, 1\)"), (Halved, r"\(1, 3\)")):
        monkeypatch.setattr("bench.worker.subject.resolve", lambda _target, made=made: lambda **_axes: made())
        with pytest.raises(ValueError, match=rf"maps images \(2, 3, 64, 64\) to {shape}, expected \(2, classes\)"):
            subject_of(model())


@pytest.mark.gpu
@pytest.mark.parametrize("name", examples.MODELS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cuda_measures_models_and_counts_as_the_formula_does(name: str, dtype: str) -> None:
    for mode in ("forward", "forward_backward"):
        axes = {**examples.MODELS[name], "batch_size": 2, "dtype": dtype, "device": "cuda", "mode": mode}
        case = plan.single("vit", axes, devices=("cpu", "cuda"))
        inspection, timing = (main.attempt(plan.task(case, repeat, SETTINGS)) for repeat in (0, 1))
        assert inspection["status"] is Status.OK, inspection["detail"]
        assert timing["status"] is Status.OK, timing["detail"]
        cost = layers.cost(case)
        assert cost is not None
        observed = {o["metric"]: o["samples"][0] for o in inspection["observations"]}
        if cost.executed_flops is not None:
            assert observed["flops_torch"] == cost.executed_flops


class Flat(torch.nn.Module):
    """Returns every pixel."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).unsqueeze(2)


class Halved(torch.nn.Module):
    """Returns too few rows."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:1].mean((2, 3))
