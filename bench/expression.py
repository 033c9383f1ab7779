"""Values of a grid that follow from other axes: arithmetic on axes, and nothing else."""

from __future__ import annotations

import ast
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bench.axes import AxisValue

OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}

LONGEST = 200
"""Characters of an expression at most, so that no nesting is too deep for a walk over its tree."""

FUNCTIONS: dict[str, Callable[[Iterable[int | float]], int | float]] = {"min": min, "max": max}


@dataclass(frozen=True)
class Derived:
    """A value computed from other axes of the same point; `text` is the expression as written."""

    text: str

    def value(self, point: Mapping[str, AxisValue]) -> AxisValue:
        """Returns the value at a point.

        Raises:
            InputError: an axis that the point does not have, a division by zero, or anything but arithmetic.
        """
        try:
            return _arithmetic(_tree(self.text).body, point)
        except (SyntaxError, ArithmeticError) as error:
            raise InputError(f"'{self.text}' cannot be computed: {error}") from None


def names_in(text: str) -> set[str]:
    """Returns the axes that an expression names.

    Raises:
        SyntaxError: no expression at all, or one that is too long.
    """
    return {node.id for node in ast.walk(_tree(text)) if isinstance(node, ast.Name)} - FUNCTIONS.keys()


def _tree(text: str) -> ast.Expression:
    """Returns the parsed expression; nothing in it is carried out."""
    if len(text) > LONGEST:
        raise SyntaxError(f"longer than {LONGEST} characters")
    try:
        return ast.parse(text.strip(), mode="eval")
    except ValueError as error:  # a null byte, in some releases of Python
        raise SyntaxError(str(error)) from None


def _arithmetic(node: ast.expr, point: Mapping[str, AxisValue]) -> int | float:
    """Returns the value of an expression made of numbers, axes and + - * / // % only."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.Name(id=name):
            value = point.get(name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(f"'{name}' has no number here (axes of this point: {', '.join(point)})")
            return value
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            result: int | float = OPERATORS[type(op)](_arithmetic(left, point), _arithmetic(right, point))
            return result
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_arithmetic(operand, point)
        case ast.Call(func=ast.Name(id=name), args=[_, _, *_] as arguments, keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](_arithmetic(argument, point) for argument in arguments)
    raise InputError("only numbers, axes, + - * / // %, min(...) and max(...) may be used")
