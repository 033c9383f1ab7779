"""What a case will need, by hand."""

from pathlib import Path

import pytest
from recorded import dense, failed, inspected, run, soft, timed

from bench import plan
from bench.estimates import WARM_UP_SHARE, Experience, experience, peak_bytes, process_seconds, too_large, weights_bytes
from bench.records import Case, Ceiling, Planned
from bench.store import open_store
from bench.worker import sampling

WEIGHTS = 2 * 16 * 32 + 32 + 16
"""Of the dense layer of the tests: d_model 16, d_ff 32."""


@pytest.mark.parametrize(
    ("axes", "copies"),
    [
        ({}, 1),
        ({"mode": "forward_backward"}, 2),
        ({"mode": "train_step", "optimizer": "sgd"}, 2),
        ({"mode": "train_step", "optimizer": "adamw"}, 4),
        ({"mode": "train_step"}, 4),
    ],
)
def test_weights_have_gradients_and_an_optimizer(axes: dict[str, str], copies: int) -> None:
    assert weights_bytes(dense(**axes)) == copies * WEIGHTS * 4
    assert weights_bytes(dense(**axes, dtype="bfloat16")) == copies * WEIGHTS * 2


def test_a_call_holds_weights_tokens_output_and_all_between() -> None:
    tokens, hidden = 32 * 16, 32 * 32
    assert peak_bytes(dense()) == 4 * (WEIGHTS + 2 * tokens + hidden)
    assert peak_bytes(dense(mode="forward_backward")) == 4 * (2 * WEIGHTS + 2 * (2 * tokens + hidden))


def test_what_the_data_decides_and_layers_from_outside_are_unknown() -> None:
    dropping = plan.single("remoe", {"num_experts": 8, "seq_len": 32, "d_model": 16, "d_ff": 32})
    assert peak_bytes(dropping) is None
    assert weights_bytes(dropping) is not None
    outside = Case({**dense(), "layer": "mypkg.moe:MyMoE"})
    assert (weights_bytes(outside), peak_bytes(outside), too_large(outside, {"cpu": 1})) == (None, None, None)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({}, "weights take 1.0 GiB, cpu has 0.5 GiB"),
        ({"mode": "forward_backward"}, "weights and gradients take 2.0 GiB, cpu has 0.5 GiB"),
        ({"mode": "train_step"}, "weights, gradients and optimizer state take 4.0 GiB, cpu has 0.5 GiB"),
        (
            {"mode": "train_step", "optimizer": "sgd"},
            "weights and gradients take 2.0 GiB, cpu has 0.5 GiB",
        ),
    ],
)
def test_only_weights_are_a_reason_to_skip(axes: dict[str, str], words: str) -> None:
    case = dense(d_model=2**10, d_ff=2**17, **axes)
    assert too_large(case, {"cpu": 2**29}) == words
    assert too_large(case, {"cpu": 2**33}) is None
    assert too_large(case, {}) is None


def test_a_large_call_takes_as_long_as_its_work() -> None:
    case = dense()
    flops = 4 * 32 * 16 * 32
    assert process_seconds(case, 1.0) == pytest.approx(0.5 + 1.5)
    assert process_seconds(case, 1.0, flops_per_s=1e9) == pytest.approx(0.5 + 1.5)
    assert process_seconds(case, 1.0, flops_per_s=flops / 10) == pytest.approx(0.5 + 4 * 10)
    assert sampling.WARM_UP_SHARE == WARM_UP_SHARE


def test_earlier_runs_on_this_machine_tell_how_long_a_case_takes(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "s.db"), create=True)
    case, other = dense(), soft()
    here, elsewhere = run("here-1", id="0" * 12), run("far-1", id="1" * 12, cpu="Other CPU")
    for made in (here, elsewhere):
        store.start_run(made, [Planned(case), Planned(other)])
    for repeat in (1, 2, 3):
        store.add_outcome(here.id, timed(case, repeat, 1.0))
    store.add_outcome(here.id, inspected(case))
    store.add_outcome(here.id, failed(other, repeat=1))
    store.add_outcome(elsewhere.id, timed(other, 1, 1.0))
    store.keep_ceilings(here.environment, [Ceiling("cpu", "float32", "FLOP/s", (1e11, 2e11, 3e11))])
    machine = {"cpu": "Test CPU", "cores_usable": 2}
    found = experience(store, machine, 1.0)
    assert (found.seconds, found.rate(case)) == ({case.id: 0.5}, 2e11)
    assert experience(store, machine, 2.0).seconds == {}
    assert experience(store, {"cpu": "Unheard of"}, 1.0) == Experience()
    store.close()


def test_rates_are_those_of_device_and_number_format() -> None:
    known = Experience(rates={("cpu", "float32"): 1e11})
    assert known.rate(dense()) == 1e11
    assert known.rate(dense(dtype="bfloat16")) is None
