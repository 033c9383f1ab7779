"""Memory, routing, accuracy: each pass on a subject small enough to know the answer."""

import subprocess
import sys
from dataclasses import replace

import examples
import numpy as np
import pytest
import torch
from installed import parameters
from recorded import SETTINGS, dense, soft

from bench import layers, plan
from bench.records import Case, Status
from bench.worker import accuracy, facts, launch, main, memory, routing
from bench.worker.subject import Subject, UnsupportedError, build, keywords, resolve


def subject_of(case: Case) -> Subject:
    return build(plan.task(case, 0, SETTINGS))


def values(finding: object) -> dict[str, float]:
    return {o.metric: o.samples[0] for o in finding.observations}  # type: ignore[attr-defined]


# subject


def test_the_seed_decides_weights_and_tokens() -> None:
    first, again, other = (subject_of(soft(seed=s, input="gaussian")) for s in (0, 0, 1))
    for a, b, same in ((first, again, True), (first, other, False)):
        assert torch.equal(a.layer.experts.w1, b.layer.experts.w1) is same
        assert torch.equal(a.batches[0], b.batches[0]) is same


def test_turns_take_other_tokens() -> None:
    subject = subject_of(soft())
    assert len({float(x.sum()) for x in subject.batches}) == 4


@pytest.mark.parametrize("mode", ["forward", "forward_backward", "train_step"])
def test_a_call_leaves_nothing_behind(mode: str) -> None:
    subject = subject_of(soft(mode=mode))
    output = subject.call(5)
    assert output.shape == subject.batches[1].shape
    assert not output.requires_grad
    assert all(p.grad is None for p in subject.layer.parameters())
    assert all(x.grad is None for x in subject.batches)


def test_training_computes_every_gradient() -> None:
    subject = subject_of(soft(mode="forward_backward"))
    seen: list[str] = []
    for name, parameter in subject.layer.named_parameters():
        parameter.register_hook(lambda _grad, name=name: seen.append(name))
    subject.batches[0].register_hook(lambda _grad: seen.append("tokens"))
    subject.call(0)
    assert sorted(seen) == [
        "experts.b1",
        "experts.b2",
        "experts.w1",
        "experts.w2",
        "router.phi",
        "router.scale",
        "tokens",
    ]


@pytest.mark.parametrize(("name", "expected"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_a_training_step_moves_every_parameter_a_little(name: str, expected: type[torch.optim.Optimizer]) -> None:
    subject = subject_of(soft(mode="train_step", optimizer=name, dtype="float32"))
    assert type(subject.optimizer) is expected
    stepped: list[object] = []
    subject.optimizer.register_step_pre_hook(
        lambda optimizer, *_: stepped.append([p.grad is not None for g in optimizer.param_groups for p in g["params"]])
    )
    before = [p.detach().clone() for p in subject.layer.parameters()]
    for turn in range(3):
        subject.call(turn)
    assert stepped == [[True] * len(before)] * 3
    for old, new in zip(before, subject.layer.parameters(), strict=True):
        assert torch.allclose(old, new, atol=1e-6)
    if name == "adamw":
        assert all("exp_avg" in subject.optimizer.state[p] for p in subject.layer.parameters())


def test_other_modes_have_no_optimizer() -> None:
    assert subject_of(soft(mode="forward_backward")).optimizer is None


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # dynamo warns while it traces, and takes an error for its own failure
@pytest.mark.parametrize("mode", ["forward", "train_step"])
def test_a_compiled_layer_is_timed_compiled_and_counted_as_it_was_written(mode: str) -> None:
    eager, compiled = (
        main.measure(plan.task(soft(mode=mode, launch=launch), 0, SETTINGS)) for launch in ("eager", "compile")
    )
    assert compiled["status"] is Status.OK
    found, plain = ({o["metric"]: o["samples"][0] for o in side["observations"]} for side in (compiled, eager))
    assert found.keys() - plain.keys() == {"compile_time"}
    assert found["compile_time"] > 0
    assert found["flops_torch"] == plain["flops_torch"]
    assert found["max_abs_error"] < 1e-5
    assert compiled["facts"]["compiled_graphs"] >= 1
    subject = subject_of(soft(mode=mode, launch="compile"))
    assert subject.run is not subject.layer
    assert torch.allclose(subject.call(0), subject.layer(subject.batches[0]).detach(), atol=1e-5)


def test_what_is_not_compiled_has_no_compile_time() -> None:
    subject = subject_of(soft())
    assert subject.run is subject.layer
    assert launch.observe(subject, plan.task(soft(), 0, SETTINGS)).observations == ()
    assert launch.ready(subject) == subject.call


def test_the_mode_decides_train_or_eval() -> None:
    assert not subject_of(soft()).layer.training
    assert subject_of(soft(mode="forward_backward")).layer.training


def test_number_format_and_threads_reach_torch() -> None:
    before = torch.get_num_threads()
    try:
        subject = subject_of(soft(dtype="bfloat16", threads=1))
        assert facts.arithmetic(subject) == {"threads": 1, "dtype": "bfloat16"}
        assert subject.layer.experts.w1.dtype == torch.bfloat16
    finally:
        torch.set_num_threads(before)


def test_skewed_tokens_are_made_for_the_layer_s_own_router() -> None:
    case = plan.single(
        "token_choice", {"num_experts": 4, "top_k": 1, "capacity_factor": "none", "input": "skewed:2", "batch_size": 64}
    )
    load = np.sort(values_of_load(case))[::-1]
    expected = np.arange(1, 5) ** -2.0
    assert load / load.sum() == pytest.approx(expected / expected.sum(), abs=0.02)


def values_of_load(case: Case) -> np.ndarray:
    task = plan.task(case, 0, SETTINGS)
    return np.array(routing.observe(build(task), task).facts["load"])


def test_a_device_that_is_not_there_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    case = soft().with_axes(device="cuda")
    with pytest.raises(UnsupportedError, match="torch sees no CUDA device"):
        subject_of(case)
    assert main.attempt(plan.task(case, 0, SETTINGS))["status"] is Status.UNSUPPORTED


def test_import_strings() -> None:
    assert resolve("softmoe_ref.soft:soft").__name__ == "soft"
    with pytest.raises(AttributeError):
        resolve("softmoe_ref.soft:nothing")


@pytest.mark.parametrize("name", parameters(layer.name for layer in layers.ROWS))
def test_every_layer_of_the_table_takes_its_axes(name: str) -> None:
    task = plan.task(plan.single(name, {**examples.SHAPE, **examples.AXES[name]}), 0, SETTINGS)
    assert set(keywords(task)) == set(layers.TABLE[name].keywords)


# memory


def test_parameters_are_counted_exactly() -> None:
    case = soft()
    task = plan.task(case, 0, SETTINGS)
    found = values(memory.observe(build(task), task))
    cost = layers.cost(case)
    assert cost is not None
    assert found["parameters"] == cost.parameters
    assert found["parameter_memory"] == 4 * cost.parameters


class Big(torch.nn.Module):
    """Holds 64 MiB at once beside its output, then lets go of it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rubbish = torch.ones(16 * 2**20)
        return x + rubbish[0]


def test_the_peak_of_a_call_is_seen_although_it_is_over_when_the_call_ends() -> None:
    task = plan.task(soft(), 0, SETTINGS)
    subject = replace(build(task), layer=Big())
    found = values(memory.observe(subject, task))
    assert found["activation_memory"] == pytest.approx(64 * 2**20, rel=0.1)
    assert found["peak_memory"] - found["activation_memory"] == subject.batches[0].numel() * 4


def test_unknown_memory_is_a_caveat_and_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def write_text(self, *_: object, **__: object) -> None:
            raise PermissionError

    monkeypatch.setattr(memory, "CLEAR", Refusing())
    task = plan.task(soft(), 0, SETTINGS)
    finding = memory.observe(build(task), task)
    assert [flag.code for flag in finding.flags] == ["memory_unknown"]
    assert set(values(finding)) == {"parameters", "parameter_memory"}


def test_timed_processes_keep_freed_memory_and_inspected_ones_only_for_their_last_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(memory, "keep_freed", lambda: not asked.append("keep"))
    monkeypatch.setattr(memory, "forget", lambda _subject: asked.append("pass"))
    facts_of = [main.attempt(plan.task(soft(), repeat, SETTINGS))["facts"] for repeat in (0, 1)]
    assert [found["freed_memory_kept"] for found in facts_of] == [False, True]
    assert asked == [*["pass"] * (len(main.INSPECT) - 1), "keep", "pass", "keep", "pass"]
    assert facts_of[1]["page_faults_per_sample"] >= 0


def test_kept_memory_is_not_faulted_in_again() -> None:
    """Blocks of 8 MiB, freed and asked for again a hundred times: 2048 pages each time, unless they are kept."""
    program = (
        "import torch, resource\n"
        "from bench.worker import memory\n"
        "assert memory.keep_freed()\n"
        "for _ in range(20): torch.ones(2**21)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(100): torch.ones(2**21)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10 * 2048


# routing


def test_where_tokens_went() -> None:
    task = plan.task(soft(), 0, SETTINGS)
    assert values(routing.observe(build(task), task)) == {"drop_rate": 0, "unrouted_rate": 0, "load_imbalance": 1}


def test_a_layer_that_does_not_route_has_no_figures() -> None:
    task = plan.task(soft(), 0, SETTINGS)
    assert routing.observe(replace(build(task), layer=Big()), task).observations == ()


def test_a_tight_capacity_drops_tokens() -> None:
    case = plan.single("token_choice", {"num_experts": 4, "top_k": 1, "capacity_factor": 0.5, "seq_len": 64})
    task = plan.task(case, 0, SETTINGS)
    found = values(routing.observe(build(task), task))
    assert found["drop_rate"] >= 0.5
    assert found["unrouted_rate"] == found["drop_rate"]


# accuracy


@pytest.mark.parametrize("name", parameters(layer.name for layer in layers.ROWS if layer.oracle))
def test_layers_with_an_oracle_are_accurate(name: str) -> None:
    task = plan.task(plan.single(name, {**examples.SHAPE, **examples.AXES[name]}), 0, SETTINGS)
    finding = accuracy.observe(build(task), task)
    found = values(finding)
    assert found["max_abs_error"] < 1e-5
    assert found["routing_agreement"] == 1.0
    assert finding.flags == ()
    assert finding.facts["checked_tokens"] == 64


@pytest.mark.parametrize("name", ["switch", "vmoe"])
def test_layers_that_train_with_noise_are_accurate_without_it(name: str) -> None:
    axes = {**examples.SHAPE, **examples.AXES[name], "mode": "forward_backward"}
    task = plan.task(plan.single(name, axes), 0, SETTINGS)
    subject = build(task)
    finding = accuracy.observe(subject, task)
    assert values(finding)["max_abs_error"] < 1e-5
    assert values(finding)["routing_agreement"] == 1.0
    assert subject.layer.training


def test_groups_over_several_sequences_are_checked_whole() -> None:
    case = plan.single("token_choice", {"num_experts": 4, "seq_len": 6, "batch_size": 6, "group_size": 4})
    assert accuracy._sequences(case) == 2
    assert accuracy._sequences(dense()) == 1


class Wrong(torch.nn.Module):
    """Our layer, slightly off."""

    def __init__(self, layer: torch.nn.Module, error: float) -> None:
        super().__init__()
        self.layer, self.error = layer, error
        self.route = layer.route

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + self.error


@pytest.mark.parametrize("error", [0.1, float("nan")])
def test_a_wrong_layer_is_found_out(error: float, monkeypatch: pytest.MonkeyPatch) -> None:
    task = plan.task(soft(), 0, SETTINGS)
    subject = build(task)
    truth = resolve(layers.ORACLE)
    monkeypatch.setattr(accuracy, "resolve", lambda _target: lambda _layer, x: truth(subject.layer, x))
    finding = accuracy.observe(replace(subject, layer=Wrong(subject.layer, error)), task)
    assert [flag.code for flag in finding.flags] == ["inaccurate"]


def test_without_an_oracle_nothing_vouches() -> None:
    task = replace(plan.task(soft(), 0, SETTINGS), oracle=None)
    finding = accuracy.observe(build(task), task)
    assert [flag.code for flag in finding.flags] == ["no_oracle"]
    assert finding.observations == ()


def test_tokens_that_went_elsewhere_are_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    case = plan.single("token_choice", {"num_experts": 4, "seq_len": 64, "d_model": 32, "d_ff": 64, "top_k": 1})
    task = plan.task(case, 0, SETTINGS)
    subject = build(task)
    truth = resolve(layers.ORACLE)(subject.layer, subject.batches[0])
    moved = truth.assigned.clone()
    moved[0] = ~moved[0]
    y = truth.y.clone()
    y[0, 0] += 100.0
    fake = type(truth)(y=y, assigned=moved)
    monkeypatch.setattr(accuracy, "resolve", lambda _target: lambda _layer, _x: fake)
    finding = accuracy.observe(subject, task)
    found = values(finding)
    assert found["routing_agreement"] == 63 / 64
    assert found["max_abs_error"] < 1e-5
    assert [(f.code, f.detail) for f in finding.flags] == [("routing_differs", "1.56% of the tokens")]


@pytest.mark.gpu
@pytest.mark.parametrize("name", [layer.name for layer in layers.ROWS if layer.package is None])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cuda_measures_everything(name: str, dtype: str) -> None:
    axes = {**examples.SHAPE, **examples.AXES[name], "dtype": dtype, "device": "cuda"}
    for mode in ("forward", "forward_backward"):
        for cache in ("hot", "cold"):
            case = plan.single(name, {**axes, "mode": mode, "cache": cache}, devices=("cpu", "cuda"))
            inspection, timing = (main.attempt(plan.task(case, repeat, SETTINGS)) for repeat in (0, 1))
            assert inspection["status"] is Status.OK, inspection["detail"]
            assert timing["status"] is Status.OK, timing["detail"]
            assert "inaccurate" not in {flag["code"] for flag in inspection["flags"]}
            found = {o["metric"]: o["samples"][0] for o in inspection["observations"]}
            assert found["peak_memory"] > found["parameter_memory"]
            assert found["activation_memory"] > 0
