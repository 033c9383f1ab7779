"""Which cases are as large as another in every size, and alike in everything else."""

import pytest
from recorded import dense, soft

from bench.axes import AXES
from bench.monotonic import SIZES, at_least_as_large, exceeded


def test_sizes_are_axes() -> None:
    assert set(SIZES) <= set(AXES)


@pytest.mark.parametrize(
    "axes",
    [{}, {"batch_size": 2}, {"num_experts": 16, "slots_per_expert": 5}, {"d_model": 32, "d_ff": 64, "seq_len": 64}],
)
def test_larger_or_equal_in_every_size(axes: dict[str, object]) -> None:
    assert at_least_as_large(soft(**axes), soft())


@pytest.mark.parametrize(
    "axes",
    [
        {"num_experts": 16, "slots_per_expert": 2},
        {"batch_size": 2, "d_ff": 16},
        {"batch_size": 2, "dtype": "bfloat16"},
        {"batch_size": 2, "backend": "einsum"},
        {"batch_size": 2, "mode": "forward_backward"},
        {"batch_size": 2, "seed": 1},
        {"batch_size": 2, "active_experts": 4},
    ],
)
def test_smaller_in_one_size_or_different_otherwise(axes: dict[str, object]) -> None:
    assert not at_least_as_large(soft(**axes), soft())


def test_another_device_or_layer_says_nothing() -> None:
    assert exceeded(soft(batch_size=2).with_axes(device="cuda"), [soft(), dense()]) is None
    assert exceeded(soft(batch_size=2), [dense(), soft()]) == soft()
