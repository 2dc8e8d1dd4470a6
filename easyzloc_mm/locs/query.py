"""Conditions on the columns of a table, as people type them: ``lpz < 40 and z_flag == 0``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.typing import Bool

COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
COMPUTE: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
LOGIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {ast.BitAnd: operator.and_, ast.BitOr: operator.or_}
FUNCTIONS: dict[str, Callable[[Any], Any]] = {"abs": np.abs, "sqrt": np.sqrt, "log10": np.log10}
LONGEST = 1000


def select(table: pd.DataFrame, condition: str | None) -> pd.DataFrame:
    """Return the rows for which `condition` holds; all of them where there is none.

    Parameters
    ----------
    table : DataFrame
        Localisations.
    condition : str, optional
        Column names, numbers, ``< <= > >= == !=``, ``and or not`` (or ``& | ~``), ``+ - * / % **``, brackets, and
        the functions `FUNCTIONS`; nothing else, and nothing is ever executed.

    Raises
    ------
    InputError
        The condition is not understood; the message says where.
    """
    if condition is None:
        return table
    if len(condition) > LONGEST:
        raise InputError(f"`where`: a condition has at most {LONGEST} characters")
    try:
        tree = ast.parse(condition.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"`where` '{condition}': not a condition ({getattr(error, 'msg', error)})") from None
    try:
        with np.errstate(all="ignore"):
            kept = _value(tree, table, condition)
    except (TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"`where` '{condition}': cannot be worked out ({error})") from None
    if not isinstance(kept, np.ndarray) or kept.dtype != bool:
        raise InputError(f"`where` '{condition}': compare a column with something, as in \"lpz < 40 and z_flag == 0\"")
    return table[kept].reset_index(drop=True)


def _value(node: ast.expr, table: pd.DataFrame, condition: str) -> Any:
    def value(part: ast.expr) -> Any:
        return _value(part, table, condition)

    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.Name(id=name) if name in table:
            column = table[name].to_numpy()
            # Unsigned columns would turn around at 0 when something is subtracted from them.
            return column.astype(float) if column.dtype != bool else column
        case ast.Name(id=name):
            raise InputError(f"`where` '{condition}': no column '{name}'; the table has {', '.join(table.columns)}")
        case ast.BoolOp(op=op, values=parts):
            return _joined(ast.BitAnd() if isinstance(op, ast.And) else ast.BitOr(), [value(p) for p in parts])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in LOGIC:
            return _joined(op, [value(left), value(right)])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in COMPUTE:
            return COMPUTE[type(op)](_number(value(left)), _number(value(right)))
        case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=part):
            return ~_truth(value(part))
        case ast.UnaryOp(op=ast.USub(), operand=part):
            return -_number(value(part))
        case ast.UnaryOp(op=ast.UAdd(), operand=part):
            return _number(value(part))
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in COMPARE for op in ops):
            terms = [_number(value(term)) for term in (left, *others)]
            return _joined(
                ast.BitAnd(), [COMPARE[type(op)](a, b) for op, a, b in zip(ops, terms, terms[1:], strict=False)]
            )
        case ast.Call(func=ast.Name(id=name), args=[part], keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](_number(value(part)))
    raise InputError(f"`where` '{condition}': '{ast.unparse(node)}' is not allowed in a condition")


def _joined(op: ast.operator, parts: list[Any]) -> Bool:
    out = _truth(parts[0])
    for part in parts[1:]:
        out = LOGIC[type(op)](out, _truth(part))
    return out


def _truth(value: Any) -> Bool:
    if isinstance(value, np.ndarray | np.bool_ | bool) and np.asarray(value).dtype == bool:
        return np.asarray(value)
    raise TypeError("and, or, not join comparisons, not numbers")


def _number(value: Any) -> Any:
    if np.asarray(value).dtype == bool:
        raise TypeError("a comparison is no number")
    return value
