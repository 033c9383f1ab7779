"""Claim: published Soft MoE layers are not the same function; some forget how long a token is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.claims.claim import Ask, Claim, Finding, Line, Measured, Unknown, Verdict, exact, study
from bench.layers import peers
from bench.units import format_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.layers import Layer, Package

SHAPE = {
    "num_experts": 4,
    "slots_per_expert": 4,
    "batch_size": 2,
    "seq_len": 64,
    "d_model": 32,
    "d_ff": 64,
    "input": "gaussian",
}

OURS = ("logits", "tokens", "none")
"""The axis normalize: what our own layer normalises."""

ROUNDING = 1e-4
"""The most that float32, and an epsilon under a root, change of an output that does not depend on lengths."""

DEPENDS = 1e-2
"""The least by which an output that does depend on them changes; between both it is not clear."""

WORDS = {
    True: "ignores the lengths but for rounding, as where slots mix normalised tokens",
    False: "depends on them",
    None: "changes by too little to tell",
}


def ask(fast: bool) -> Ask:  # noqa: FBT001  (the contract of a claim)
    """Returns our layer in its three forms, and the layers of those packages that are installed."""
    del fast
    ours = [study("scale", "soft", normalize=normalize, **SHAPE) for normalize in OURS]
    theirs = [study("scale", row.name, **SHAPE) for row, _, _ in _published() if row.missing is None]
    return Ask(studies=(*ours, *theirs), timed=False)


def judge(measured: Measured) -> Finding:
    """Returns how much each layer's output changes with the lengths of its tokens, and whether as its code reads."""
    ours = {name: measured.samples("scale_change", study="scale", layer="soft", normalize=name) for name in OURS}
    lines = [Line(f"softmoe_ref, normalize={name}", None, exact(max(ours[name])), "ratio") for name in OURS]
    as_read = all(_invariant(changes) == (name == "tokens") for name, changes in ours.items())
    theirs: dict[bool | None, list[str]] = {answer: [] for answer in WORDS}
    missing = []
    for row, package, normalize in _published():
        try:
            changes = measured.samples("scale_change", study="scale", layer=row.name)
        except Unknown as error:
            why = str(error) if measured.all(study="scale", layer=row.name) else "not installed"
            missing.append(f"{package.name} ({why})")
            lines.append(Line(f"{package.name}: {why}", None, None, "ratio"))
            continue
        answer = _invariant(changes)
        as_read &= answer == (normalize == "tokens")
        facts = measured.one(study="scale", layer=row.name).outcomes[0].facts
        named = f"{package.name} {facts['package_version']}"
        theirs[answer].append(named)
        lines.append(Line(named, None, exact(max(changes)), "ratio"))
    held = Verdict.REPRODUCED if any(theirs.values()) else Verdict.CANNOT
    return Finding(held if as_read else Verdict.NOT_REPRODUCED, _words(ours, theirs, missing), tuple(lines))


def _words(
    ours: Mapping[str, Sequence[float]], theirs: Mapping[bool | None, Sequence[str]], missing: Sequence[str]
) -> str:
    """Returns the answer in sentences: our layer, the packages' by what became of them, and what that means."""
    changes = ", ".join(f"{format_value(max(ours[name]), 'ratio')} with normalize={name}" for name in OURS)
    opening = (
        "With every token up to ten times as long or as short, the largest change of our layer's output, over its "
        f"largest number, is {changes}."
    )
    sentences = [opening]
    measured = [f"the output of {' and '.join(names)} {WORDS[answer]}" for answer, names in theirs.items() if names]
    if measured:
        sentences.append(f"Of other packages, {'; '.join(measured)}.")
    else:
        sentences.append("The layers of other packages cannot be checked here.")
    if missing:
        sentences.append(f"Not measured: {', '.join(missing)}.")
    sentences.append(
        "A layer whose output ignores the lengths cannot represent a norm, whatever the number of its experts; "
        "where it depends on them, this does not show whether logits, slots or both see the tokens themselves."
    )
    return " ".join(sentences)


def _published() -> Iterator[tuple[Layer, Package, str]]:
    """Yields the Soft MoE layers of other packages, each with what it normalises as its code reads."""
    for row in peers.ROWS:
        if row.package is not None and row.package.matches and row.package.matches["layer"] == "soft":
            yield row, row.package, str(row.package.matches["normalize"])


def _invariant(changes: Sequence[float]) -> bool | None:
    """Returns whether an output with these changes ignores the lengths, None where that is not clear."""
    if max(changes) <= ROUNDING:
        return True
    return False if min(changes) >= DEPENDS else None


CLAIM = Claim(
    name="implementations-differ",
    text="Published Soft MoE layers are not one function: the authors' mixes the tokens themselves and normalises them "
    "for the logits only, soft-moe-pytorch and soft-moe mix normalised tokens and lose every token's length, "
    "soft-mixture-of-experts normalises nothing.",
    source="arXiv:2308.00951v2, section 2.3 and algorithm 2; google-research/vmoe at 942a78b, "
    "projects/soft_moe/router.py; soft-moe-pytorch 0.1.9, soft-moe 0.0.1, soft-mixture-of-experts 0.2.0",
    how="Every token of a batch is multiplied by a random factor between 0.1 and 10; the figure is the largest change "
    "of the output over its largest number, in four batches. Our own layer stands for the authors', which is in JAX.",
    minutes=(0.2, 0.2),
    expected=Verdict.REPRODUCED,
    ask=ask,
    judge=judge,
)
