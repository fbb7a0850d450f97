"""What all importers share: chunks of records become objects of a draft, which is published when all are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from agd.batch import Batch
from agd.codecs import Chain
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.errors import UsageError
from agd.manifest import Cell, Chunk, ColumnSpec
from agd.ops.digest import Digest
from agd.run import Progress, Runner

T = TypeVar("T")


class Once(Generic[T]):
    """Something that is handed over once: a runner holds on to its items until the work on them is done."""

    def __init__(self, thing: T) -> None:
        self._held = [thing]

    def take(self) -> T:
        """The thing, which is not held any more."""
        return self._held.pop()


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A chunk: its objects that are still to be stored, by column, and its entry in the manifest."""

    blobs: dict[str, bytes]
    chunk: Chunk
    digest: Digest


def specs_of(
    columns: Sequence[str], codecs: Mapping[str, list[dict[str, Any]]] | None
) -> dict[str, ColumnSpec]:
    """How the columns of an import are stored: by default, or with the codec chains that the user asked for.

    Raises
    ------
    UsageError
        There is a chain for another column.
    """
    specs = columns_of(columns)
    for name, chain in (codecs or {}).items():
        if name not in specs:
            raise UsageError(f"there is no column {name!r} to choose codecs for", f"there are: {', '.join(columns)}")
        Chain.from_json(chain, name)  # what is wrong with it is said before the work begins
        specs[name] = ColumnSpec(specs[name].type, list(chain), specs[name].key, specs[name].dtype)
    return specs


class Importing(Generic[T]):
    """Stores what a reader gives, and publishes it.

    Parameters
    ----------
    draft : Draft
        Of the new dataset; left for the next run, or removed, if an error comes.
    load : callable
        From an item that was read to the columns of a chunk and the digest of its records; runs on any thread.
    keep : bool
        Objects that an earlier run of this draft has stored whole are kept.
    """

    def __init__(self, draft: Draft, load: Callable[[T], tuple[Batch, Digest]], *, keep: bool) -> None:
        self._draft = draft
        self._load = load
        self._keep = keep

    def run(
        self, items: Iterable[T], fields: Callable[[list[Chunk]], Mapping[str, Any]], *, runner: Runner,
        ahead: tuple[int | None, int | None], progress: Progress, unit: str,
    ) -> Dataset:
        """Encode and store all chunks, then publish them.

        Parameters
        ----------
        items : iterable
            Read once, in order.
        fields : callable
            From all chunks, once they are stored, to the fields of the manifest but the digest.
        ahead : pair of int or None
            Chunks that may be at work, and those that may wait for the store.
        progress : Progress
        unit : str
            Of it.
        """
        chunks: list[Chunk] = []
        digest = Digest()
        progress.begin("import", None, unit)
        try:
            encoded = runner.map(self._encode, items, on="cpu", ahead=ahead[0])
            for done in runner.map(self._store, encoded, on="io", ahead=ahead[1]):
                chunks.append(done.chunk)
                digest.add(done.digest)
                progress.advance(done.chunk.count)
            return self._draft.commit(chunks, digest=digest.to_json(), **fields(chunks))
        except BaseException as error:
            self._draft.failed(error)
            raise
        finally:
            progress.end()

    # What was read is let go of with the columns: only objects wait to be stored.
    def _encode(self, item: T) -> _Encoded:
        batch, digest = self._load(item)
        first, count, columns = batch.first, len(batch), dict(batch.columns)
        del batch
        blobs: dict[str, bytes] = {}
        cells: dict[str, Cell] = {}
        for name in list(columns):
            column = columns.pop(name)
            kept = self._draft.finished(name, first, count) if self._keep else None
            if kept is not None:
                cells[name] = kept
            else:
                blobs[name], cells[name] = self._draft.encode(name, first, column)
        return _Encoded(blobs, Chunk(first, count, cells), digest)

    def _store(self, encoded: _Encoded) -> _Encoded:
        for name, data in encoded.blobs.items():
            self._draft.store(name, encoded.chunk.first, data)
        return replace(encoded, blobs={})
