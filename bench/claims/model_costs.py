"""Claim: the sizes and evaluation costs of the paper's models."""

from __future__ import annotations

from bench.claims.claim import Ask, Claim, Finding, Line, Measured, Verdict, study
from bench.claims.paper_models import MODELS, SOURCE

TOLERANCE = 0.01


def ask(fast: bool) -> Ask:  # noqa: FBT001  (the contract of a claim)
    """Returns a study of each model: built on the meta device, where no weight takes memory."""
    del fast
    return Ask(studies=tuple(study("model", "vit", **model.axes) for model in MODELS))


def judge(measured: Measured) -> Finding:
    """Returns parameters and FLOPs of each model beside the printed ones."""
    lines = []
    digits = within = 0
    worst = 0.0
    for model in MODELS:
        parameters = measured.figure("parameters_built", study="model", **model.axes)
        flops = measured.figure("flops_built", study="model", **model.axes)
        digits += printed(parameters.estimate, model.parameters)
        apart = abs(flops.estimate / (model.gflop * 1e9) - 1)
        within += apart <= TOLERANCE
        worst = max(worst, apart)
        lines += [
            Line(f"{model.name}: parameters", as_number(model.parameters), parameters, "count"),
            Line(f"{model.name}: forward pass of an image", model.gflop * 1e9, flops, "FLOP"),
        ]
    words = (
        f"Of {len(MODELS)} models, {digits} have the printed number of parameters and {within} the printed GFLOP per "
        f"image within {100 * TOLERANCE:g} % (largest difference {100 * worst:.1f} %), counted in the modules "
        "themselves. One multiply-add is two FLOP, as in the paper's evaluation column."
    )
    held = digits == within == len(MODELS)
    return Finding(Verdict.REPRODUCED if held else Verdict.NOT_REPRODUCED, words, tuple(lines))


def printed(value: float, text: str) -> bool:
    """Returns whether a number is what a table prints as "33M" or "1.8B", rounded or cut off at its digits."""
    unit = {"M": 1e6, "B": 1e9}[text[-1]]
    step = 10.0 ** -len(text[:-1].partition(".")[2])
    return -step / 2 <= value / unit - float(text[:-1]) < step


def as_number(text: str) -> float:
    """Returns the number that a table prints as "33M"."""
    return float(text[:-1]) * {"M": 1e6, "B": 1e9}[text[-1]]


CLAIM = Claim(
    name="model-costs",
    text="Soft MoE holds many times the parameters of a Vision Transformer and computes less for an image: S/16 with "
    "128 experts has 933M instead of 33M parameters and takes 8.6 instead of 9.2 GFLOP.",
    source=SOURCE,
    how="All ten models are built on torch's meta device; parameters are counted in the module, FLOPs by torch's "
    "counter in a forward pass of one image.",
    minutes=(0.3, 0.3),
    expected=Verdict.REPRODUCED,
    ask=ask,
    judge=judge,
)
