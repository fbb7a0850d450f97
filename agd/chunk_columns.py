"""The columns of one chunk, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Callable

from agd.batch import I64, U8, AnyColumn
from agd.codecs import Chain, Context
from agd.types import Orientation


class ChunkColumns:
    """What codecs may know of a chunk (:class:`agd.codecs.Context`): each column is decoded once.

    Parameters
    ----------
    orientation : Orientation
        Of the dataset.
    genome : callable
        Gives the letters of all references end to end, and their offsets.
    load : callable
        From a name and this object to the codecs and the core of a column.
    """

    def __init__(
        self, orientation: Orientation, genome: Callable[[], tuple[U8, I64]],
        load: Callable[[str, Context], tuple[Chain, AnyColumn]],
    ) -> None:
        self.orientation, self.genome, self._load = orientation, genome, load
        self._columns: dict[str, tuple[Chain, AnyColumn]] = {}

    def column(self, name: str) -> AnyColumn:
        """A column without the steps of its codecs that need others."""
        return self._core(name)[1]

    def whole(self, name: str) -> AnyColumn:
        """A column as it was before it was encoded."""
        chain, column = self._core(name)
        return chain.complete(column, self)

    def _core(self, name: str) -> tuple[Chain, AnyColumn]:
        if name not in self._columns:
            self._columns[name] = self._load(name, self)
        return self._columns[name]
