"""Conditions on records as text, evaluated on whole columns: ``mapq >= 30 and not flag & 0x400 and [NM] < 3``."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import Batch, Column
from agd.cell import alignment_ends, reference_lengths
from agd.errors import UsageError
from agd.tags import all_tags
from agd.types import Reference

#: Longest text of an expression.
MAX_LENGTH = 4096

#: Names of the tree that stand for ``[XX]``.
_TAG = re.compile(r"tag_[A-Za-z][A-Za-z0-9]")

FIELDS = ("flag", "mapq", "pos", "pnext", "tlen", "length", "rlen", "endpos", "rname", "rnext")
_REMEDY = f"names are {', '.join(FIELDS)} and [NM] for a tag; operators are those of Python, and && || !"

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
_BITS = (ast.BitAnd, ast.BitOr, ast.BitXor)
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_, ast.BitXor: operator.xor,
}  # fmt: skip


class Expression:
    """A condition on alignment lines.

    Fields: ``flag mapq pos pnext tlen`` as in SAM (positions 1-based), ``length`` of SEQ, ``rlen`` bases of the
    reference under the CIGAR, ``endpos`` (1-based, of the last of them), ``rname rnext`` to compare with text, and
    ``[XX]`` for an integer or text tag. A comparison with a tag that a record lacks is false; ``[XX]`` alone means that
    it is there. Integers are exact, however large they become.

    Raises
    ------
    UsageError
        The text is no such expression.
    """

    def __init__(self, text: str, references: Sequence[Reference]) -> None:
        self.text = text
        if len(text) > MAX_LENGTH:
            raise UsageError(f"an expression of {len(text)} characters", "use a shorter one")
        source = re.sub(r"\[([A-Za-z][A-Za-z0-9])\]", r" tag_\1 ", text)
        source = re.sub(r"!(?!=)", " not ", source.replace("&&", " and ").replace("||", " or "))
        try:
            self._tree = ast.parse(source.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UsageError(f"{text!r} is not an expression", _REMEDY) from error
        self._references = {reference.name: i for i, reference in enumerate(references)}
        self.columns: list[str] = []
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Name):
                if not _TAG.fullmatch(node.id) and node.id not in FIELDS:
                    raise self._wrong(node.id)
                self.columns += ["tags"] if node.id.startswith("tag_") else ["bases"] if node.id == "length" else []
        # What can be evaluated on nothing can be evaluated.
        try:
            self._check()
        except RecursionError as error:
            raise UsageError(f"{text[:40]!r}…: is nested too deeply", "use a shorter expression") from error

    def _check(self) -> None:
        from agd.batch import Alignments

        nothing = Alignments.null(0).replace(valid=None)
        self.mask(Batch(0, {"results": nothing, "bases": Column.empty(), "tags": Column.empty()}))

    def _wrong(self, what: str) -> UsageError:
        return UsageError(f"{self.text!r}: {what!r} cannot stand in an expression", _REMEDY)

    def mask(self, lines: Batch) -> Any:
        """For which alignment lines it holds: bool, shape (lines,)."""
        return self._truth(self._tree, lines)

    def _truth(self, node: ast.expr, lines: Batch) -> Any:
        if isinstance(node, ast.BoolOp):
            parts = [self._truth(value, lines) for value in node.values]
            join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return join.reduce(parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self._truth(node.operand, lines)
        if isinstance(node, ast.Compare):
            return self._compare(node, lines)
        value, present = self._value(node, lines)
        if isinstance(node, ast.Name) and node.id.startswith("tag_"):
            starts, ends = _spans(lines, node.id[4:])
            return ends > starts
        return np.broadcast_to(present & (value != 0), len(lines)).copy()

    def _compare(self, node: ast.Compare, lines: Batch) -> Any:
        operands = [node.left, *node.comparators]
        result: Any = np.ones(len(lines), np.bool_)
        for left, op, right in zip(operands, node.ops, operands[1:], strict=False):
            if type(op) not in _COMPARE:
                raise self._wrong(type(op).__name__)
            if any(isinstance(x, ast.Constant) and isinstance(x.value, str) for x in (left, right)):
                result &= self._text(left, op, right, lines)
                continue
            (a, here), (b, there) = self._value(left, lines), self._value(right, lines)
            result &= np.broadcast_to(_COMPARE[type(op)](a, b) & here & there, len(lines))
        return result

    def _text(self, left: ast.expr, op: ast.cmpop, right: ast.expr, lines: Batch) -> Any:
        if isinstance(left, ast.Constant):
            left, right = right, left
        if not isinstance(left, ast.Name) or not isinstance(right, ast.Constant) or not isinstance(right.value, str):
            raise self._wrong("a comparison of two texts")
        if not isinstance(op, (ast.Eq, ast.NotEq)):
            raise self._wrong("an order of texts")
        equal: Any
        a = lines.alignments()
        if left.id in ("rname", "rnext"):
            index = -1 if right.value == "*" else self._references.get(right.value, -2)
            equal = (a.reference if left.id == "rname" else a.mate_reference) == index
            return equal if isinstance(op, ast.Eq) else ~equal
        if not left.id.startswith("tag_"):
            raise self._wrong(right.value)
        starts, ends = _spans(lines, left.id[4:])
        equal = np.zeros(len(lines), np.bool_)
        values = _tags(lines).values
        for field in (b"Z" + right.value.encode() + b"\0", b"A" + right.value.encode()):
            wanted = np.frombuffer(left.id[4:].encode() + field, np.uint8)
            like = np.flatnonzero(ends - starts == len(wanted))
            if len(like):
                equal[like] |= (values[starts[like][:, None] + np.arange(len(wanted))] == wanted).all(axis=1)
        return equal if isinstance(op, ast.Eq) else (ends > starts) & ~equal

    def _value(self, node: ast.expr, lines: Batch) -> tuple[Any, Any]:
        """Numbers, and where there are any."""
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and abs(node.value) < 1 << 62:
            return (node.value if isinstance(node.value, float) else int(node.value)), np.True_
        if isinstance(node, ast.Name):
            return self._field(node.id, lines)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert)):
            value, present = self._value(node.operand, lines)
            if isinstance(node.op, ast.USub):
                return -value, present
            if _is_fraction(value):
                raise self._wrong("~")
            return ~value, present
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            (a, here), (b, there) = self._value(node.left, lines), self._value(node.right, lines)
            if isinstance(node.op, _BITS) and (_is_fraction(a) or _is_fraction(b)):
                raise self._wrong(type(node.op).__name__)
            try:
                return _calculated(node.op, a, b), here & there
            except OverflowError as error:
                raise UsageError(f"{self.text!r}: a number is too large for a fraction") from error
        negation = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        if negation or isinstance(node, (ast.BoolOp, ast.Compare)):
            return self._truth(node, lines).astype(np.int64), np.True_
        raise self._wrong(type(node).__name__)

    def _field(self, name: str, lines: Batch) -> tuple[Any, Any]:
        a = lines.alignments()
        if name.startswith("tag_"):
            tags = _tags(lines)
            out, present = np.zeros(len(lines), np.int64), np.zeros(len(lines), np.bool_)
            assert tags.offsets is not None
            kernels.aux_numbers(tags.values, tags.offsets, int.from_bytes(name[4:].encode(), "little"), out, present)
            return out, present
        if name in ("rname", "rnext"):
            raise self._wrong(f"{name} without a text beside it")
        found: Any
        match name:
            case "flag":
                found = a.flag
            case "mapq":
                found = a.mapping_quality
            case "pos":
                found = a.position + 1
            case "pnext":
                found = a.mate_position + 1
            case "tlen":
                found = a.template_length
            case "length":
                found = lines.ragged("bases").lengths if "bases" in lines else np.zeros(len(lines), np.int64)
            case "rlen":
                found = reference_lengths(a.cigar)
            case _:
                found = alignment_ends(a)
        return found.astype(np.int64), np.True_


def _is_fraction(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")


def _magnitude(value: Any) -> int:
    """The largest absolute value of integers of 64 bits, or of one of any size; 0 of others."""
    if isinstance(value, int):
        return abs(value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "i" and value.size:
        return max(-int(value.min()), int(value.max()))
    return 0


def _calculated(op: ast.operator, a: Any, b: Any) -> Any:
    """A sum, difference, product or combination of bits; with integers of any size where 64 bits may not suffice."""
    large, small = _magnitude(a), _magnitude(b)
    bound = large * small if isinstance(op, ast.Mult) else large + small
    if max(bound, large, small) >= 1 << 63 and not (_is_fraction(a) or _is_fraction(b)):
        a, b = (x.astype(object) if isinstance(x, np.ndarray) else x for x in (a, b))
    with np.errstate(over="ignore", invalid="ignore"):  # fractions become infinite
        return _BINARY[type(op)](a, b)


def _tags(lines: Batch) -> Column:
    tags = all_tags(lines)
    return Column(tags.values, np.ascontiguousarray(tags.offsets))


def _spans(lines: Batch, tag: str) -> tuple[Any, Any]:
    tags = _tags(lines)
    starts, ends = np.empty(len(tags), np.int64), np.empty(len(tags), np.int64)
    assert tags.offsets is not None
    kernels.aux_spans(tags.values, tags.offsets, int.from_bytes(tag.encode(), "little"), starts, ends)
    return starts, ends
