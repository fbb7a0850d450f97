"""One header for several datasets, and what their records must be changed to for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agd import samheader
from agd.batch import I32, Alignments, AnyColumn, Column
from agd.errors import UsageError
from agd.manifest import Manifest
from agd.tags import rename_values
from agd.types import Reference


@dataclass(frozen=True, slots=True)
class Translation:
    """From the records of one dataset to those of the joined one.

    Attributes
    ----------
    references : ndarray of int32, shape (references + 1,)
        Index of each reference in the joined header; the last entry is -1, for none.
    tags : dict of str to dict of bytes to bytes
        For RG and PG, the values that change.
    """

    references: I32
    tags: Mapping[str, Mapping[bytes, bytes]] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether any record may have to change."""
        identity = np.arange(len(self.references) - 1)
        return bool(any(self.tags.values()) or (self.references[:-1] != identity).any())

    def column(self, name: str, column: AnyColumn) -> AnyColumn:
        """A column as it is in the joined dataset."""
        if isinstance(column, Alignments):
            return column.replace(
                reference=self.references[column.reference], mate_reference=self.references[column.mate_reference],
                tags=self._renamed(column.tags),
            )  # fmt: skip
        return self._renamed(column) if name == "tags" else column

    def renames(self, column: AnyColumn) -> bool:
        """Whether the tags of any record have to change."""
        tags = column.tags if isinstance(column, Alignments) else column
        return self._renamed(tags) is not tags

    def _renamed(self, tags: Column) -> Column:
        for tag, names in self.tags.items():
            if names:
                tags = rename_values(tags, tag, names)
        return tags


@dataclass(slots=True)
class JoinedHeader:
    """Header of several datasets, as ``samtools merge`` joins them, without its chance.

    References are those of the first dataset, followed by those that only later ones have. A read group or program
    whose whole line another dataset has as well is one; of two that differ under one ID the later one gets a suffix
    (``-1``), which the tags of its records follow. Comments are kept, all of them.

    Attributes
    ----------
    text : str
    references : tuple of Reference
    translations : list of Translation
        One for each dataset.
    """

    text: str
    references: tuple[Reference, ...]
    translations: list[Translation]

    @staticmethod
    def of(manifests: Sequence[Manifest], urls: Sequence[str]) -> JoinedHeader:
        """Header of datasets; their steps of provenance become ``@PG`` lines.

        Raises
        ------
        UsageError
            References of one name differ in length or checksum.
        """
        references, maps = join_references(manifests, urls)
        texts = [samheader.with_steps(m.header, m.steps) for m in manifests]
        lines = [[line for line in text.split("\n") if line] for text in texts]
        programs, program_maps = _join_lines(lines, "PG", "PP", [{} for _ in lines], by_parents=True)
        groups, group_maps = _join_lines(lines, "RG", "PG", program_maps)
        sequences: dict[str, str] = {}
        others: list[str] = []
        for own in lines:
            for line in own:
                kind = line[1:3]
                if kind == "SQ":
                    sequences.setdefault(samheader.parse_line(line).get("SN", ""), line)
                elif kind == "CO" or (kind not in ("HD", "RG", "PG") and line not in others):
                    others.append(line)
        head = [line for own in lines for line in own if line.startswith("@HD\t")][:1]
        text = "".join(f"{line}\n" for line in [*head, *sequences.values(), *groups, *programs, *others])
        translations = [
            Translation(places, {"RG": _changed(group_map), "PG": _changed(program_map)})
            for places, group_map, program_map in zip(maps, group_maps, program_maps, strict=True)
        ]
        return JoinedHeader(text, references, translations)

    @staticmethod
    def steps(manifests: Sequence[Manifest]) -> tuple[dict[str, Any], ...]:
        """Steps of provenance of all datasets, each once; the joined header has their ``@PG`` lines already."""
        found: list[dict[str, Any]] = []
        for m in manifests:
            for step in m.steps:
                noted = {**step, "in_header": True}
                if noted not in found:
                    found.append(noted)
        return tuple(found)


def join_references(
    manifests: Sequence[Manifest], urls: Sequence[str]
) -> tuple[tuple[Reference, ...], list[I32]]:
    """References of several datasets, each once, and where those of each dataset are among them.

    Raises
    ------
    UsageError
        Two of one name differ in length or checksum.
    """
    joined: dict[str, Reference] = {}
    places: dict[str, int] = {}
    origin: dict[str, str] = {}
    maps: list[I32] = []
    for m, url in zip(manifests, urls, strict=True):
        for r in m.references:
            known = joined.setdefault(r.name, r)
            places.setdefault(r.name, len(places))
            origin.setdefault(r.name, url)
            for what, one, two in (("LN", known.length, r.length), ("M5", known.md5, r.md5)):
                if one != two and one and two:
                    raise UsageError(
                        f"the reference {r.name} has {what} {one} in {origin[r.name]} and {two} in {url}",
                        "records of different references cannot be merged",
                    )
            if r.md5 and not known.md5:
                joined[r.name] = r
                origin[r.name] = url
        maps.append(np.array([*(places[r.name] for r in m.references), -1], np.int32))
    return tuple(joined.values()), maps


def _join_lines(
    headers: Sequence[Sequence[str]], kind: str, link: str, linked: Sequence[Mapping[str, str]], *,
    by_parents: bool = False,
) -> tuple[list[str], list[dict[str, str]]]:
    """Lines of one kind of all headers, and for each header the new ID of each old one.

    Parameters
    ----------
    link : str
        Field that names a program.
    linked : sequence of mapping
        For each header, new IDs of its programs.
    by_parents : bool
        The links are to lines of this kind: parents come first.
    """
    joined: dict[str, str] = {}  # ID → line
    every = {samheader.parse_line(line).get("ID", "") for own in headers for line in own if line[1:3] == kind}
    maps: list[dict[str, str]] = []
    for own, programs in zip(headers, linked, strict=True):
        found: dict[str, str] = {}
        links = found if by_parents else programs
        for line in _in_order([x for x in own if x.startswith(f"@{kind}\t")], link if by_parents else ""):
            tags = samheader.parse_line(line)
            identity = tags.get("ID", "")
            if link in tags and tags[link] in links:
                line = _with(line, link, links[tags[link]])
            new = identity
            if identity in joined and not _same(joined[identity], line):
                new = next((n for n in _renamed(identity, joined) if _same(joined[n], _with(line, "ID", n))), "")
                new = new or _unused(identity, {*joined, *every})
                line = _with(line, "ID", new)
            joined.setdefault(new, line)
            found.setdefault(identity, new)
        maps.append(found)
    return list(joined.values()), maps


def _in_order(lines: Sequence[str], link: str) -> list[str]:
    """Lines so that each comes after the one that it links to, otherwise as they are; a ring is broken anywhere."""
    if not link:
        return list(lines)
    left = [(line, samheader.parse_line(line)) for line in lines]
    ordered: list[str] = []
    while left:
        waiting = {tags.get("ID") for _, tags in left}
        ready = [entry for entry in left if entry[1].get(link) not in waiting or entry[1].get(link) is None] or left[:1]
        ordered += [line for line, _ in ready]
        left = [entry for entry in left if entry not in ready]
    return ordered


def _same(one: str, two: str) -> bool:
    """Whether two header lines say the same, in any order of their fields."""
    return sorted(one.split("\t")) == sorted(two.split("\t"))


def _with(line: str, tag: str, value: str) -> str:
    """A header line with another value of a field that it has."""
    return "\t".join(f"{tag}:{value}" if x.startswith(f"{tag}:") else x for x in line.split("\t"))


def _renamed(identity: str, joined: Collection[str]) -> list[str]:
    """IDs that lines of this ID have got before."""
    return [new for new in joined if new.startswith(f"{identity}-") and new[len(identity) + 1 :].isdigit()]


def _unused(identity: str, used: Collection[str]) -> str:
    number = 1
    while f"{identity}-{number}" in used:
        number += 1
    return f"{identity}-{number}"


def _changed(names: Mapping[str, str]) -> dict[bytes, bytes]:
    return {
        old.encode("utf-8", "surrogateescape"): new.encode("utf-8", "surrogateescape")
        for old, new in names.items() if old != new
    }  # fmt: skip
