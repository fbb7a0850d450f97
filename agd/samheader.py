"""The text of a SAM header: read it, and add to it without changing what is there (SAM specification, section 1.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agd.errors import UsageError
from agd.types import Reference, SortOrder


def parse_line(line: str) -> dict[str, str]:
    """Tags of one header line, in order; the record type (``SQ``) under the key ``""``."""
    kind, *fields = line.split("\t")
    tags = {"": kind[1:]}
    for entry in fields:
        tag, _, value = entry.partition(":")
        tags.setdefault(tag, value)
    return tags


def lines_of(text: str, kind: str) -> list[dict[str, str]]:
    """Tags of all lines of one kind (``"SQ"``, ``"RG"``, ``"PG"``)."""
    return [parse_line(line) for line in text.split("\n") if line.startswith(f"@{kind}\t")]


def references_of(text: str) -> tuple[Reference, ...]:
    """References of the ``@SQ`` lines.

    Raises
    ------
    ValueError
        A line lacks SN or LN, a name stands twice, or is not made of printable ASCII.
    """
    found: dict[str, Reference] = {}
    for tags in lines_of(text, "SQ"):
        name, length = tags.get("SN"), tags.get("LN", "")
        if not name or not length.isdecimal() or not length.isascii() or int(length[:20]) >= 1 << 31:
            raise ValueError(f"@SQ line without a valid SN and LN: {tags}")
        check_reference_name(name)
        if name in found:
            raise ValueError(f"two @SQ lines are named {name}")
        found[name] = Reference(name, int(length), tags.get("M5", "").lower())
    return tuple(found.values())


def check_reference_name(name: str) -> None:
    """Refuse what can be no name of a reference: anything but printable ASCII (SAM specification, section 1.2.1).

    Raises
    ------
    ValueError
        It is no name.
    """
    if not name or not name.isascii() or not name.isprintable() or " " in name:
        raise ValueError(f"{name!r} is not a name of a reference")


def read_group_line(text: str) -> str:
    r"""An ``@RG`` line as it is given on a command line: with ``\t`` for tabs, and an ID.

    Raises
    ------
    UsageError
        It is no ``@RG`` line, or has no ID.
    """
    line = text.replace("\\t", "\t")
    tags = parse_line(line)
    if tags[""] != "RG" or not tags.get("ID") or "\n" in line:
        raise UsageError(f"not a read group line: {text!r}", r"give one such as '@RG\tID:s1\tSM:sample\tPL:ILLUMINA'")
    return line


def with_references(text: str, references: Iterable[Reference]) -> str:
    """The header with these ``@SQ`` lines in place of its own."""
    others = [line for line in text.split("\n") if line and not line.startswith("@SQ\t")]
    head = [line for line in others if line.startswith("@HD\t")]
    sq = [f"@SQ\tSN:{r.name}\tLN:{r.length}" + (f"\tM5:{r.md5}" if r.md5 else "") for r in references]
    return "".join(f"{line}\n" for line in head + sq + [line for line in others if line not in head])


def with_line(text: str, line: str) -> str:
    """The header with one more line; a line of the same kind and ID is replaced, a comment (``@CO``) never."""
    lines = [old for old in text.split("\n") if old]
    if not line.startswith("@CO\t"):
        new = parse_line(line)
        lines = [old for old in lines if old.startswith("@CO\t") or _identity(parse_line(old)) != _identity(new)]
    return "".join(f"{x}\n" for x in [*lines, line])


def _identity(tags: Mapping[str, str]) -> tuple[str, str]:
    return tags[""], tags.get("SN" if tags[""] == "SQ" else "ID", "")


def with_sort_order(text: str, order: SortOrder) -> str:
    """The header with SO, SS and GO of its ``@HD`` line set for an order; the line is made if there is none."""
    lines = [line for line in text.split("\n") if line]
    main, _, sub = order.value.partition(":")
    version = "1.6"
    rest: list[str] = []
    if lines and lines[0].startswith("@HD"):
        for entry in lines.pop(0).split("\t")[1:]:
            if entry.startswith("VN:"):
                version = entry[3:]
            elif entry[:3] not in ("SO:", "SS:", "GO:"):
                rest.append(entry)
    head = ["@HD", f"VN:{version}", f"SO:{main}"]
    if order is SortOrder.TEMPLATE_COORDINATE:
        head.append("GO:query")
    if sub:
        head.append(f"SS:{order.value}")
    return "".join(f"{line}\n" for line in ["\t".join(head + rest), *lines])


def sort_order_of(text: str) -> SortOrder:
    """Sort order that the ``@HD`` line declares."""
    head = text.split("\n", 1)[0]
    if not head.startswith("@HD"):
        return SortOrder.UNKNOWN
    tags = parse_line(head)
    for value in (tags.get("SS", ""), tags.get("SO", "")):
        if value in set(SortOrder):
            return SortOrder(value)
    if tags.get("SO") == "queryname":
        return SortOrder.QUERYNAME
    return SortOrder.UNKNOWN


def with_program(text: str, name: str, version: str, command: str) -> str:
    """The header with one more ``@PG`` line, chained to each last one of those that are there."""
    if text and not text.endswith("\n"):
        text += "\n"
    programs = lines_of(text, "PG")
    used = {p.get("ID", "") for p in programs}
    followed = {p.get("PP") for p in programs}
    leaves = [p["ID"] for p in programs if p.get("ID") and p["ID"] not in followed] or [""]
    base = "-".join(name.split())  # "agd sort" is agd-sort: many programs split a PP at blanks
    for leaf in leaves:
        identity, number = base, 1
        while identity in used:
            identity, number = f"{base}.{number}", number + 1
        used.add(identity)
        line = f"@PG\tID:{identity}\tPN:{name.split()[0]}" + (f"\tPP:{leaf}" if leaf else "") + f"\tVN:{version}"
        text += line + (f"\tCL:{clean(command)}" if command else "") + "\n"
    return text


def with_steps(text: str, steps: Iterable[Mapping[str, Any]]) -> str:
    """The header with one ``@PG`` line for each step of provenance that is not in it yet."""
    for step in steps:
        if not step.get("in_header"):
            text = with_program(text, str(step["program"]), str(step["version"]), str(step.get("command", "")))
    return text


def clean(value: str) -> str:
    """A value that may stand in a header line: tabs and line ends become spaces."""
    return " ".join(value.split())
