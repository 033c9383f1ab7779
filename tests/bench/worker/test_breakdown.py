"""The phases of a forward pass: what they add up to, who has none, and that nobody notices."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import examples
import pytest
import torch
from fake_cuda import FakeCuda
from recorded import SETTINGS, dense, soft

from bench import plan
from bench.metrics import TABLE
from bench.metrics.breakdown import PHASES, WHOLE
from bench.worker import breakdown, main
from bench.worker.breakdown import Events, Nanoseconds, Record, Watched, observe, split, together
from bench.worker.subject import Subject, build
from softmoe_ref import MoE
from softmoe_ref.moe import Router

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.records import Case

FOUR = ("router_time", "dispatch_time", "experts_time", "combine_time")


def look(case: Case, change: Callable[[Subject], Subject] = lambda subject: subject) -> dict[str, float]:
    task = plan.task(case, 0, SETTINGS)
    finding = observe(change(build(task)), task)
    assert all(o.unit == TABLE[o.metric].unit and len(o.samples) == 1 for o in finding.observations)
    return {o.metric: o.samples[0] for o in finding.observations}


def hooks(layer: torch.nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in layer.modules())


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakdown, "SECONDS", 0.0)


# a layer whose phases take a known time


class Part(torch.nn.Module):
    """Spends some seconds, and returns what it was given, or something else."""

    def __init__(self, spend: Callable[[], None], output: object = None) -> None:
        super().__init__()
        self.spend, self.output = spend, output

    def forward(self, x: object) -> object:
        self.spend()
        return x if self.output is None else self.output


class Layer(torch.nn.Module):
    """Router 5, dispatch 10, experts 30, combine 20, shared experts 7, before and after them 1 and 2."""

    def __init__(self, spend: Callable[[float], None], *, shared: bool) -> None:
        super().__init__()
        dispatch, combine = Part(lambda: spend(10)), Part(lambda: spend(20))
        self.spend = spend
        self.router = Part(lambda: spend(5), SimpleNamespace(dispatch=dispatch, combine=combine))
        self.experts = Part(lambda: spend(30))
        self.shared = Part(lambda: spend(7)) if shared else None

    def forward(self, x: object) -> object:
        self.spend(1)
        decision = self.router(x)
        y = decision.combine(self.experts(decision.dispatch(x)))
        if self.shared is not None:
            self.shared(x)
        self.spend(2)
        return y


def subject_with(layer: torch.nn.Module) -> Subject:
    return Subject(layer, (torch.zeros(1),), torch.zeros(1), torch.device("cpu"), "forward", "eager", cold=False)


class FakeMeter:
    """Stands where the layer has put it."""

    def __init__(self) -> None:
        self.level = 0.0

    def spend(self, amount: float) -> None:
        self.level += amount

    def begin(self) -> None:
        self.level += 100  # between calls: nobody's

    def read(self) -> float:
        return self.level

    def end(self) -> None:
        self.level += 100

    def between(self, start: float, end: float) -> float:
        return end - start


@pytest.mark.parametrize(("shared", "experts"), [(False, 30), (True, 37)])
def test_each_phase_gets_what_it_took(*, shared: bool, experts: float) -> None:
    meter = FakeMeter()
    found = split(subject_with(Layer(meter.spend, shared=shared)), 0, meter)
    assert found == {"router": 5, "dispatch": 10, "experts": experts, "combine": 20, "profiled": 38 + experts}


def test_a_device_s_own_time_counts_once_its_queue_is_filled() -> None:
    cuda = FakeCuda(launch=0.1e-3)
    subject = subject_with(Layer(lambda amount: cuda.kernel(amount * 1e-6), shared=False))
    meter = Events(cuda, cuda.now)
    starved, held = (split(subject, turn, meter) for turn in range(2))
    assert starved["router"] > 50e-6  # the launch, not the kernel
    assert held == pytest.approx(
        {"router": 5e-6, "dispatch": 10e-6, "experts": 30e-6, "combine": 20e-6, "profiled": 68e-6}
    )
    assert cuda.host >= cuda.device


def test_interruptions_of_different_phases_are_left_out_and_the_rest_adds_up() -> None:
    calls = [{"router": r, "experts": e, "profiled": w} for r, e, w in ((1, 90, 92), (90, 3, 95), (2, 4, 99))]
    assert together(calls, ["router", "experts"]) == {"router": 2, "experts": 4, "other": 2, "profiled": 8}
    assert together(calls[:1], ["experts"]) == {"experts": 90, "other": 2, "profiled": 92}
    assert together([{"router": 2, "profiled": 1.5}], ["router"]) == {"router": 2, "other": 0, "profiled": 2}


# layers


@pytest.mark.parametrize("mode", ["forward", "train_step"])
def test_phases_add_up_to_the_call(mode: str) -> None:
    found = look(soft(mode=mode))
    assert set(found) == {*FOUR, "other_time", WHOLE}
    assert sum(found[name] for name in PHASES if name in found) == pytest.approx(found[WHOLE], rel=1e-9)
    assert all(found[name] > 0 for name in FOUR)


def test_a_slow_router_is_seen() -> None:
    class SlowRouter(Router):
        def __init__(self, inner: Router, work: torch.nn.Module) -> None:
            super().__init__()
            self.inner, self.work = inner, work

        def forward(self, x: torch.Tensor) -> object:
            for _ in range(50):
                self.work(x.reshape(1, -1, x.shape[-1]).expand(8, -1, -1))
            return self.inner(x)

    def slow(subject: Subject) -> Subject:
        layer = MoE("soft", SlowRouter(subject.layer.router, subject.layer.experts.forward), subject.layer.experts)
        return replace(subject, layer=layer)

    found = look(soft(), slow)
    assert found["router_time"] > found[WHOLE] / 2


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("soft", set()),
        ("token_choice", set()),
        ("deepseek", set()),
        ("smear", {"dispatch_time", "combine_time"}),
        ("peer", {"dispatch_time", "combine_time"}),
        ("identity", {"router_time"}),
    ],
)
def test_a_phase_that_computes_nothing_is_unknown(name: str, lacking: set[str]) -> None:
    found = look(plan.single(name, {**examples.SHAPE, **examples.AXES[name]}))
    assert set(FOUR) - set(found) == lacking


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vit soft", {"attention_time", "dense_time", *FOUR}), ("vit dense", {"attention_time", "dense_time"})],
)
def test_a_model_has_attention_and_dense_networks_too(name: str, expected: set[str]) -> None:
    found = look(plan.single("vit", {**examples.MODELS[name], "batch_size": 2}))
    assert set(found) == {*expected, "other_time", WHOLE}


@pytest.mark.parametrize("name", ["Identity", "TwiceTheExperts"])
def test_nothing_is_known_of_a_layer_from_outside_whatever_it_is_made_of(name: str) -> None:
    axes = {"num_experts": 8, "slots_per_expert": 4}
    assert look(plan.single(f"strange_layers:{name}", {**examples.SHAPE, **axes})) == {}


def test_a_dense_layer_is_one_phase() -> None:
    assert look(dense()) == {}


def test_a_compiled_layer_has_no_phases() -> None:
    subject = build(plan.task(soft(), 0, SETTINGS))
    assert observe(subject, plan.task(soft(backend="compile"), 0, SETTINGS)).observations == ()


def test_a_call_that_is_launched_as_one_piece_has_no_phases() -> None:
    assert look(soft(), lambda subject: replace(subject, launch="graph")) == {}


@pytest.mark.parametrize(("timeout", "calls"), [(1e-9, 1), (1e9, breakdown.FEWEST)])
def test_slow_calls_are_not_repeated_beyond_a_share_of_the_timeout(timeout: float, calls: int) -> None:
    task = plan.task(soft(), 0, replace(SETTINGS, timeout=timeout))
    assert observe(build(task), task).facts == {"profiled_calls": calls}


def test_the_first_process_looks_at_it_after_all_else() -> None:
    assert main.INSPECT[-1] is observe
    result = main.measure(plan.task(soft(), 0, replace(SETTINGS, timeout=1e9)))
    assert {*FOUR, "other_time", WHOLE} <= {o["metric"] for o in result["observations"]}
    assert result["facts"]["profiled_calls"] == breakdown.FEWEST


# what nobody notices


def test_output_and_gradients_are_the_same() -> None:
    subject = build(plan.task(soft(mode="forward_backward"), 0, SETTINGS))

    def results() -> list[torch.Tensor]:
        x = subject.batches[0].detach().requires_grad_()
        y = subject.layer(x)
        return [y, *torch.autograd.grad(y, [x, *subject.layer.parameters()], subject.cotangent)]

    before = results()
    record = Record(Nanoseconds())
    handles = breakdown._hooks(subject.layer, record)
    watched = results()
    for handle in handles:
        handle.remove()
    assert [phase for phase, *_ in record.spans] == ["router", "dispatch", "experts", "combine"]
    assert not isinstance(subject.layer.route(subject.batches[0]), Watched)
    for found in (watched, results()):
        assert all(torch.equal(a, b) for a, b in zip(before, found, strict=True))


@pytest.mark.parametrize("raises", [False, True])
def test_no_hook_stays_behind(*, raises: bool) -> None:
    meter = FakeMeter()
    layer = Layer(meter.spend, shared=True)
    if raises:
        layer.experts = Part(lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            split(subject_with(layer), 0, meter)
    else:
        split(subject_with(layer), 0, meter)
    assert hooks(layer) == 0


@pytest.mark.gpu
@pytest.mark.parametrize("cache", ["hot", "cold"])
def test_phases_of_a_real_device_add_up(cache: str) -> None:
    found = look(soft().with_axes(device="cuda", cache=cache))
    assert set(found) == {*FOUR, "other_time", WHOLE}
    assert sum(found[name] for name in PHASES if name in found) == pytest.approx(found[WHOLE], rel=1e-5)
