"""Claim: a Soft MoE with a single expert cannot represent the Euclidean norm."""

from __future__ import annotations

from bench.claims.claim import Ask, Chart, Claim, Curve, Finding, Line, Measured, Verdict, exact, study
from bench.stats import Interval, geometric_interval, paired_ratio_interval

LAYER = {"backend": "einsum", "normalize": "none", "seq_len": 4}
D_MODEL = 6

FEW = ((1, 1), (1, 5), (5, 1))
"""Experts and slots of each, fewer in all than coordinates."""

ENOUGH = ((1, 6), (6, 1))
"""As many slots as coordinates: what shows that the test can tell layers apart."""

ALONE = ((1, 1), 6), ((1, 1), 1)
"""One expert with one slot, in six dimensions and in one."""

TWO = ((1, 2), (2, 1))
"""Two slots in one dimension, of one expert and of two."""

APART = 0.1
"""A layer tells inputs apart if the outputs differ by this share of the norms' difference or more, in the longest."""

ROUNDING = 1e-9
"""What is smaller is too small for any readout to use, and no bound is exact to more than this share."""

TRAINED = ((1, 1), (2, 1), (4, 1), (8, 1))
MANY_SLOTS = (1, 8)
"""As many slots as the most experts have, all of one: what experts bring beside their slots."""

HIDDEN = 64
"""Hidden units of all experts of a layer together."""


def ask(fast: bool) -> Ask:  # noqa: FBT001  (the contract of a claim)
    """Returns the inputs that collide, and unless fast the small networks that are trained."""
    cases = [study("norm", "soft", **_axes(shape, D_MODEL)) for shape in (*FEW, *ENOUGH)]
    cases += [study("norm", "soft", **_axes(shape, 1)) for shape in ((1, 1), *TWO)]
    if not fast:
        cases += [study("norm_trained", "soft", batch_size=256, **_axes(shape, 2)) for shape in (*TRAINED, MANY_SLOTS)]
    return Ask(studies=tuple(cases), timed=False)


def judge(measured: Measured) -> Finding:
    """Returns whether inputs of all norms collide where they must, and only there, and what training makes of it."""
    held, words, lines = _exactly(measured)
    if measured.fast:
        charts: tuple[Chart, ...] = ()
        words += " What training makes of it is measured in the full check."
    else:
        worse, more, rows, charts = _trained(measured)
        held &= worse
        words, lines = f"{words} {more}", lines + rows
    return Finding(Verdict.REPRODUCED if held else Verdict.NOT_REPRODUCED, words, tuple(lines), charts)


def _exactly(measured: Measured) -> tuple[bool, str, list[Line]]:
    """Returns whether both arguments hold, in words and lines."""
    few, enough = ([_last(measured, "collision", shape, D_MODEL) for shape in shapes] for shapes in (FEW, ENOUGH))
    widest = max(max(measured.samples("collision_gap", **_known(shape, D_MODEL))) for shape in FEW)
    alone = [_last(measured, "family", shape, d_model) for shape, d_model in ALONE]
    two = [_last(measured, "family", shape, 1) for shape in TWO]
    collides, separates = widest == 0, all(gap >= APART * norm for norm, gap in enough)
    vanishes = _within_bound(measured) and all(gap < ROUNDING for _, gap in alone)
    cured = all(gap >= APART * norm for norm, gap in two)
    fate = (
        "exactly the same output, so that neither experts nor readout can help and more experts alone do not suffice"
        if collides
        else f"outputs that differ by up to {widest:.3g}"
    )
    words = (
        f"With fewer slots in all than coordinates ({_shapes(FEW)} experts x slots in {D_MODEL} dimensions) inputs of "
        f"norm 0 to {few[0][0]:,.0f} give {fate}; with as many slots ({_shapes(ENOUGH)}) the same inputs "
        f"{'come apart' if separates else 'do not come apart, so that the test shows nothing'}. "
        f"One expert with one slot {'hides' if vanishes else 'does not hide'} a second family, in one dimension too: "
        f"an input of norm {alone[0][0]:.3g} moves the output by {max(gap for _, gap in alone):.1e}, and the proof "
        "needs expert and readout to be Lipschitz because that is not 0; two slots, of one expert or of two, "
        f"{'tell' if cured else 'do not tell'} that family apart, which is not to say that they represent the norm."
    )
    lines = [
        Line(f"{_shape(shape)}, {D_MODEL} dimensions: output moves, norm {norm:.2g}", None, exact(gap), "abs")
        for shape, (norm, gap) in zip((*FEW, *ENOUGH), (*few, *enough), strict=True)
    ]
    for (shape, d_model), (norm, gap) in zip((*ALONE, *((shape, 1) for shape in TWO)), (*alone, *two), strict=True):
        where = f"{d_model} dimension{'s' if d_model > 1 else ''}"
        lines.append(Line(f"{_shape(shape)}, {where}: output moves, token of {norm:.3g}", None, exact(gap), "abs"))
    return collides and separates and vanishes and cured, words, lines


def _within_bound(measured: Measured) -> bool:
    """Returns whether the only slot is never longer than a exp(-a) / (m - 1)."""
    for shape, d_model in ALONE:
        slots, bounds = (measured.samples(name, **_known(shape, d_model)) for name in ("family_slot", "family_bound"))
        if any(slot > bound * (1 + ROUNDING) for slot, bound in zip(slots, bounds, strict=True)):
            return False
    return True


def _trained(measured: Measured) -> tuple[bool, str, list[Line], tuple[Chart, ...]]:
    """Returns whether one expert learns the norm worse than eight that are as wide in all, with what shows it."""
    everywhere, opposite = (
        {shape: measured.samples(name, study="norm_trained", **_own(shape)) for shape in (*TRAINED, MANY_SLOTS)}
        for name in ("norm_rmse", "norm_rmse_opposite")
    )
    one, most = TRAINED[0], TRAINED[-1]
    constant = measured.figure("norm_rmse_constant", study="norm_trained", **_own(one))
    ratio = paired_ratio_interval(everywhere[most], everywhere[one])
    slots = paired_ratio_interval(everywhere[most], everywhere[MANY_SLOTS])
    worse = ratio.low is not None and ratio.low > 1
    words = (
        f"Trained on norms up to 10 in two dimensions ({len(everywhere[one])} seeds, {HIDDEN} hidden units in all), "
        f"one expert with one slot ends with {_times(ratio)} the error of eight experts, and one expert with "
        f"eight slots with {_times(slots)}{_meaning(ratio, slots)}. "
        "Training shows what one recipe finds in one layout, not what a layer can represent."
    )
    lines = [Line("Trained: error of the best constant", None, constant, "abs")]
    for shape in (*TRAINED, MANY_SLOTS):
        lines += [
            Line(f"Trained, {_shape(shape)}: error", None, geometric_interval(everywhere[shape]), "abs"),
            Line(f"Trained, {_shape(shape)}: on opposite pairs", None, geometric_interval(opposite[shape]), "abs"),
        ]
    curves = tuple(
        Curve(name, tuple((float(shape[0]), geometric_interval(errors[shape])) for shape in TRAINED))
        for name, errors in (("all inputs", everywhere), ("opposite pairs", opposite))
    )
    title = f"Error of the learnt norm, one slot for each expert, {HIDDEN} hidden units in all"
    return worse, words, lines, (Chart(title, "experts", "root mean square error", "abs", curves),)


def _axes(shape: tuple[int, int], d_model: int) -> dict[str, object]:
    """Returns the axes of the layer with so many experts and slots of each."""
    num_experts, slots_per_expert = shape
    sizes = {"num_experts": num_experts, "slots_per_expert": slots_per_expert, "d_model": d_model}
    return {**LAYER, **sizes, "d_ff": HIDDEN // num_experts}


def _own(shape: tuple[int, int]) -> dict[str, object]:
    """Returns the axes by which a layer is known among those of its study."""
    return {"num_experts": shape[0], "slots_per_expert": shape[1]}


def _known(shape: tuple[int, int], d_model: int) -> dict[str, object]:
    """Returns the axes by which a layer with inputs set by hand is known."""
    return {"study": "norm", "d_model": d_model, **_own(shape)}


def _last(measured: Measured, family: str, shape: tuple[int, int], d_model: int) -> tuple[float, float]:
    """Returns the norm of the longest input of a family, and how far its output is from that of zero."""
    known = _known(shape, d_model)
    return measured.samples(f"{family}_norm", **known)[-1], measured.samples(f"{family}_gap", **known)[-1]


def _shape(shape: tuple[int, int]) -> str:
    """Returns "2 experts, 1 slot each"."""
    experts, slots = (f"{count} {noun}{'s' if count > 1 else ''}" for count, noun in zip(shape, NOUNS, strict=True))
    return f"{experts}, {slots}{' each' if shape[0] > 1 else ''}"


NOUNS = ("expert", "slot")


def _shapes(shapes: tuple[tuple[int, int], ...]) -> str:
    """Returns experts times slots of several layers."""
    return ", ".join(f"{experts} x {slots}" for experts, slots in shapes)


def _meaning(ratio: Interval, slots: Interval) -> str:
    """Returns whether slots alone explain some of what experts bring: one expert with as many slots does better."""
    if slots.high is None or ratio.low is None:
        return ""
    return f", so that slots explain {'some' if slots.high < ratio.low else 'nothing'} of what experts bring"


def _times(ratio: Interval) -> str:
    """Returns a ratio with its interval."""
    reach = "" if ratio.low is None or ratio.high is None else f" (95 % interval {ratio.low:.2f} to {ratio.high:.2f})"
    return f"{ratio.estimate:.2f} times{reach}"


CLAIM = Claim(
    name="one-expert-norm",
    text="A Soft MoE with a single expert, however powerful, cannot represent simple convex functions. Here the "
    "Euclidean norm of all tokens: our proof is for an expert and a readout that are Lipschitz, and one slot; inputs "
    "that collide exactly exist for any number of experts with fewer slots in all than coordinates.",
    source="arXiv:2409.00879, abstract; the arguments are this project's own, the paper's proof was not at hand",
    how="Two opposite tokens orthogonal to all of phi must give the output of zero at every norm where slots are fewer "
    "than coordinates; one token of length a against the only phi may leave a exp(-a) / (m - 1) in its slot, m tokens. "
    "Both in float64, without normalisation, beside layers that must tell the same inputs apart. The full check trains "
    "layers of 1 to 8 experts that are as wide in all, and one expert with eight slots.",
    minutes=(2.5, 0.1),
    expected=Verdict.REPRODUCED,
    ask=ask,
    judge=judge,
)
