"""The parts of a reference that a dataset keeps: a small dataset in its folder, whose names are the places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from agd.batch import I64, U8, Batch
from agd.errors import FormatError
from agd.manifest import Manifest
from agd.types import Reference

#: Names of embedded references.
EMBEDDED = re.compile(r"reference(-[0-9]+)?\.agd")


def embedded_reference(manifest: Manifest) -> str:
    """Name of the dataset, in the folder of this one, that holds parts of the reference; "" if there is none."""
    # Steps are carried to other datasets, which have not what this one keeps.
    found = [step.get("parameters", {}) for step in reversed(manifest.steps)]
    names = [parameters.get("embedded") for parameters in found if parameters.get("dataset") == manifest.id]
    return next((name for name in names if isinstance(name, str) and EMBEDDED.fullmatch(name)), "")


def lay_out(url: str, batches: Iterable[Batch], references: Sequence[Reference]) -> tuple[U8, I64]:
    """Letters of the references end to end, uint8, 0 where there are none, and their offsets.

    Parameters
    ----------
    url : str
        Of the small dataset, for errors.
    batches : iterable of Batch
        Its ``bases`` and ``metadata``.
    references : sequence of Reference

    Raises
    ------
    FormatError
        A place lies outside of its reference.
    """
    offsets = np.zeros(len(references) + 1, np.int64)
    np.cumsum([r.length for r in references], out=offsets[1:])
    letters, index = np.zeros(int(offsets[-1]), np.uint8), {r.name: i for i, r in enumerate(references)}
    for batch in batches:
        bases = batch.ragged("bases")
        for i, place in enumerate(batch.ragged("metadata")):
            contig, _, span = place.decode().rpartition(":")
            first = int(span.partition("-")[0]) - 1
            at, size = int(offsets[index[contig]]) + first, int(bases.lengths[i])
            if first < 0 or first + size > references[index[contig]].length:
                raise FormatError(url, "metadata", f"{place.decode()!r} lies outside of its reference")
            letters[at : at + size] = np.frombuffer(bases[i], np.uint8)
    return letters, offsets
