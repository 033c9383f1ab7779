"""How far a subject's output is from the float64 oracle: a wrong layer is not a fast one."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from bench.records import Flag
from bench.worker.finding import Finding, one
from bench.worker.subject import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.axes import AxisValue
    from bench.records import Task
    from bench.worker.subject import Subject

TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}
"""Error relative to the largest output that a number format explains: some 2^10, 2^4 and 2^3 of its own steps."""


def observe(subject: Subject, task: Task) -> Finding:
    """Returns the largest absolute error over tokens routed alike, and the share of those tokens.

    The layer is in evaluation mode meanwhile: the noise that some routers train with has no truth.
    """
    if task.oracle is None:
        return Finding(flags=(Flag("no_oracle"),))
    x_BMD = subject.batches[0].detach()[: _sequences(task.case)]
    with torch.no_grad(), _evaluation(subject.layer):
        y_BMD = subject.run(x_BMD).double().cpu()
        truth = resolve(task.oracle)(subject.layer, x_BMD)
        alike_T = _alike(subject, x_BMD, truth.assigned)
    y_TD, truth_TD = y_BMD.flatten(0, 1), truth.y.detach().double().cpu().flatten(0, 1)
    agreement = float(alike_T.double().mean())
    error = float((y_TD - truth_TD)[alike_T].abs().max()) if alike_T.any() else None
    scale = max(float(truth_TD.abs().max()), torch.finfo(torch.float32).tiny)
    flags: list[Flag] = []
    if error is None or not math.isfinite(error):
        flags.append(Flag("inaccurate", "the output is not finite" if error is not None else "no token routed alike"))
        error = None
    elif error > TOLERANCE[str(task.case["dtype"])] * scale:
        flags.append(Flag("inaccurate", f"largest error {error:.1e} where outputs reach {scale:.1e}"))
    if agreement < 1:
        flags.append(Flag("routing_differs", f"{1 - agreement:.2%} of the tokens"))
    return Finding(
        observations=(
            *one("max_abs_error", "abs", error),
            *one("routing_agreement", "ratio", agreement),
        ),
        flags=tuple(flags),
        facts={"checked_tokens": y_TD.shape[0]},
    )


@contextmanager
def _evaluation(layer: torch.nn.Module) -> Iterator[None]:
    """Puts the layer into evaluation mode for the length of a block."""
    training = layer.training
    layer.eval()
    try:
        yield
    finally:
        layer.train(training)


def _alike(subject: Subject, x_BMD: torch.Tensor, truth_TE: torch.Tensor | None) -> torch.Tensor:
    """Returns for each token whether layer and oracle send it to the same experts."""
    route = getattr(subject.layer, "route", None)
    decision = None if route is None else route(x_BMD)
    if decision is None or truth_TE is None:
        return torch.ones(x_BMD.shape[0] * x_BMD.shape[1], dtype=torch.bool)
    same_T: torch.Tensor = (decision.assigned().cpu() == truth_TE.cpu()).all(dim=1)
    return same_T


def _sequences(case: Mapping[str, AxisValue]) -> int:
    """Returns the fewest whole sequences that hold whole groups; the oracle is slow."""
    seq_len = int(case["seq_len"] or 0)
    return math.lcm(int(case.get("group_size") or seq_len), seq_len) // seq_len
