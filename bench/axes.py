"""The axes of a case: one table of names, types, defaults and allowed values."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import InputError, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

AxisValue = str | int | float | bool | None

NONE_WORDS = ("none", "null")
"""How TOML and the command line, which have no null, write an absent value."""

LARGEST = 2**63 - 1
"""The largest whole number that TOML and every database can hold."""


@dataclass(frozen=True)
class Axis:
    """One parameter of a case.

    `kind` is the Python type of a value: str, bool, int with its `minimum`, or float, which is always above 0;
    `default` is None where absence means something (see `text`) or where every grid must say it (`required`).
    `later` axes came when layers that take them had been measured already: see `bench.records.Case`.
    """

    name: str
    kind: type
    default: AxisValue
    text: str
    allowed: tuple[str, ...] = ()
    minimum: int = 0
    optional: bool = False
    required: bool = False
    later: bool = False

    def describe(self) -> str:
        """Returns the values that this axis takes, in words."""
        if self.allowed:
            words = " | ".join(self.allowed)
        elif self.kind is bool:
            words = "true | false"
        elif self.kind is str:
            words = "a word"
        else:
            words = f"a whole number >= {self.minimum}" if self.kind is int else "a number > 0"
        return f"{words} | none" if self.optional else words

    def parse(self, value: object) -> AxisValue:
        """Returns the value in this axis' own type, so that 1, 1.0 and "1" make the same case.

        Raises:
            InputError: the value is of another type or out of range.
        """
        absent = isinstance(value, str) and value.lower() in NONE_WORDS and value not in self.allowed
        if value is None or absent:
            if self.optional:
                return None
            raise self._complaint(value)
        parsed = self._word(value) if self.kind in (str, bool) else self._number(value)
        if self.allowed and parsed not in self.allowed:
            raise InputError(f"{self.name}: {unknown('value', str(parsed), self.allowed)}")
        return parsed

    def _word(self, value: object) -> str | bool:
        """Returns the value of an axis of words or of true and false."""
        if self.kind is str and isinstance(value, str) and value:
            return value
        if self.kind is bool and isinstance(value, bool):
            return value
        if self.kind is bool and isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise self._complaint(value)

    def _number(self, value: object) -> int | float:
        """Returns the value of an axis of numbers, without rounding anything away."""
        number = _read_number(value)
        if number is None:
            raise self._complaint(value)
        if LARGEST < number < math.inf:
            raise InputError(f"{self.name} = {value!r}: takes {self.describe()}, below 2^63")
        if self.kind is float and 0 < number < math.inf:
            return float(number)
        if self.kind is int and number >= self.minimum and number % 1 == 0:
            return int(number)
        raise self._complaint(value)

    def _complaint(self, value: object) -> InputError:
        """Returns the error for a value of another type or out of range."""
        return InputError(f"{self.name} = {value!r}: takes {self.describe()}")


def _read_number(value: object) -> int | float | None:
    """Returns a number as it is or as it is written, None where it is none; whole ones are exact."""
    if isinstance(value, str):
        for kind in (int, float):
            with suppress(ValueError):
                return kind(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


STUDIES = ("model", "norm", "norm_trained", "scale", "subsets")
"""What a worker can look at for a claim; one file each in bench.worker.studies."""

AXES: dict[str, Axis] = {
    axis.name: axis
    for axis in (
        Axis("layer", str, None, "which layer (see `list layers`)", required=True),
        Axis(
            "variant",
            str,
            None,
            "size of the backbone (vit); it decides seq_len, d_model and d_ff",
            allowed=("tiny", "S/16", "S/14", "B/16", "L/16", "H/14"),
            required=True,
        ),
        Axis(
            "moe",
            str,
            None,
            "layer of the last blocks (vit), which brings its own axes",
            allowed=("dense", "soft", "token_choice", "expert_choice"),
            required=True,
        ),
        Axis("backend", str, None, "how the same function is computed; each layer has its own"),
        Axis("num_experts", int, None, "number of experts E", minimum=1, required=True),
        Axis("slots_per_expert", int, None, "slots of one expert P (soft and its ablations)", minimum=1, required=True),
        Axis("top_k", int, 2, "experts chosen per token K (remoe: on average; peer: per head)", minimum=1),
        Axis(
            "capacity_factor",
            float,
            1.0,
            "room per expert over its even share; none = dropless",
            optional=True,
        ),
        Axis("group_size", int, None, "tokens routed together; none = one sequence", minimum=1, optional=True),
        Axis("num_shared_experts", int, 1, "experts that work on every token (deepseek)", minimum=0),
        Axis("expert_groups", int, 1, "groups of consecutive experts (deepseek)", minimum=1),
        Axis("top_groups", int, 1, "groups that a token may choose from (deepseek)", minimum=1),
        Axis(
            "assignment",
            str,
            "auction",
            "how tokens are shared out in training (balanced_assignment)",
            allowed=("auction", "sinkhorn"),
        ),
        Axis("batch_priority", bool, False, "confident tokens take places first"),  # noqa: FBT003
        Axis("renormalize", bool, False, "the chosen gates sum to one"),  # noqa: FBT003
        Axis("capacity_rounding", str, "round", "how the capacity is rounded", allowed=("round", "ceil", "ceil4")),
        Axis(
            "memory",
            str,
            "normal",
            "low = linear in the tokens (soft, fused)",
            allowed=("normal", "low"),
            later=True,
        ),
        Axis(
            "active_experts",
            int,
            None,
            "experts computed per sequence (soft); none = all",
            minimum=1,
            optional=True,
            later=True,
        ),
        Axis(
            "subset_choice",
            str,
            "combine",
            "how active experts are chosen",
            allowed=("combine", "random"),
            later=True,
        ),
        Axis("renormalize_active", bool, False, "weights of active experts sum to one", later=True),  # noqa: FBT003
        Axis("normalize", str, "logits", "what the L2 norm is for (soft)", allowed=("logits", "tokens", "none")),
        Axis("activation", str, "gelu", "activation of the experts", allowed=("gelu", "swiglu")),
        Axis("batch_size", int, 1, "sequences per call", minimum=1),
        Axis("seq_len", int, 196, "tokens per sequence", minimum=1),
        Axis("d_model", int, 384, "width of a token", minimum=1),
        Axis("d_ff", int, 1536, "hidden width of an expert (peer: of what a token retrieves)", minimum=1),
        Axis("dtype", str, "float32", "number format", allowed=("float32", "bfloat16", "float16")),
        Axis(
            "device",
            str,
            "auto",
            "where it runs; auto = cuda if there is one",
            allowed=("auto", "cpu", "cuda"),
        ),
        Axis("mode", str, "forward", "what one call does", allowed=("forward", "forward_backward", "train_step")),
        Axis(
            "optimizer",
            str,
            None,
            "what train_step ends with (none = adamw there)",
            allowed=("sgd", "adamw"),
            optional=True,
            later=True,
        ),
        Axis(
            "launch",
            str,
            "eager",
            "how kernels are launched: one by one, compiled, or as a CUDA graph",
            allowed=("eager", "compile", "graph"),
        ),
        Axis(
            "cache",
            str,
            "hot",
            "caches before a call: hot = as the last call left them",
            allowed=("hot", "cold"),
        ),
        Axis("input", str, "photo", "tokens: photo | gaussian | skewed[:exponent]"),
        Axis(
            "threads",
            int,
            None,
            "CPU threads; none = all that this process may use",
            minimum=1,
            optional=True,
        ),
        Axis("seed", int, 0, "seed of weights and tokens", minimum=0),
        Axis("study", str, None, "what claims look at once, not timed", allowed=STUDIES, optional=True, later=True),
    )
}

COMMON = (
    "batch_size",
    "seq_len",
    "d_model",
    "d_ff",
    "dtype",
    "device",
    "mode",
    "optimizer",
    "launch",
    "cache",
    "input",
    "threads",
    "seed",
)
"""Axes that every layer takes."""


def parse_axis(name: str, value: object) -> AxisValue:
    """Returns the value of the named axis in its own type.

    Raises:
        InputError: there is no such axis, or it does not take this value.
    """
    axis = AXES.get(name)
    if axis is None:
        raise InputError(unknown("axis", name, AXES))
    return axis.parse(value)


def show_value(value: AxisValue) -> str:
    """Returns an axis' value as people and the command line write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


SHORT = {
    "num_experts": "experts",
    "slots_per_expert": "slots",
    "batch_size": "batch",
    "capacity_factor": "capacity",
}
"""Names of axes where there is little room."""


def case_name(axes: Mapping[str, AxisValue], names: Iterable[str]) -> str:
    """Returns a short name for people: layer and backend in one word, then those of the named axes that it has."""
    backend = axes.get("backend")
    layer = str(axes["layer"]) if backend is None else f"{axes['layer']}/{backend}"
    rest = [name for name in names if name in axes and name not in ("layer", "backend")]
    return " ".join([layer, *(f"{SHORT.get(name, name)}={show_value(axes[name])}" for name in rest)])


def label(axes: Mapping[str, AxisValue], names: tuple[str, ...] | list[str]) -> str:
    """Returns `name=value` pairs of those axes that the case has, in the order given."""
    return " ".join(f"{name}={show_value(axes[name])}" for name in names if name in axes)
