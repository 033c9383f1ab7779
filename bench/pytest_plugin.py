"""Lets pytest-benchmark measure our layers: a `softmoe` fixture, and what it adds to pytest-benchmark's JSON.

Example: `def test_soft(softmoe): softmoe("soft", num_experts=8, slots_per_expert=24, batch_size=4)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def softmoe(benchmark: Any) -> Callable[..., Any]:  # noqa: ANN401  (pytest-benchmark exports no type for its fixture)
    """Returns a function that measures one call of a layer: its name, then any axis as a keyword.

    The axes, the case's id and the FLOPs by formula go to `extra_info`. Raises `bench.errors.InputError` for an axis
    or value that the layer does not take. Figures come from the test's own process; for comparisons across commits use
    `softmoe-bench`.
    """

    def measure(layer: str, **axes: Any) -> Any:  # noqa: ANN401  (the layer's output)
        from bench import layers, plan  # noqa: PLC0415  (this module is loaded by every pytest session)
        from bench.records import Settings  # noqa: PLC0415
        from bench.worker import facts  # noqa: PLC0415
        from bench.worker.launch import ready  # noqa: PLC0415
        from bench.worker.subject import build  # noqa: PLC0415

        case = plan.single(layer, axes, devices=facts.devices())
        subject = build(plan.task(case, 1, Settings()))
        cost = layers.cost(case)
        benchmark.extra_info.update(case=case.id, axes=dict(case), flops=None if cost is None else cost.useful_flops)
        launched, turn = ready(subject), 0

        def call() -> Any:  # noqa: ANN401
            nonlocal turn
            turn += 1
            output = launched(turn)
            subject.synchronize()
            return output

        return benchmark(call)

    return measure


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:  # noqa: ANN401
    """Adds the facts that must agree for a comparison; pytest-benchmark alone knows neither torch nor the GPU."""
    del config
    from bench import environment  # noqa: PLC0415
    from bench.gpus import gpus  # noqa: PLC0415

    versions = environment.package_versions()
    machine_info["softmoe_bench"] = {
        **environment.comparable_facts(),
        "torch": versions.get("torch"),
        "gpus": [gpu.comparable_facts() for gpu in gpus()],
    }
