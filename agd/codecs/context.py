"""What codecs may know besides the column itself: other columns of the same chunk, and the reference."""

from __future__ import annotations

from typing import Any, Protocol

from agd.batch import I64, U8, AnyColumn
from agd.codecs.base import Codec
from agd.errors import CodecError
from agd.types import Orientation


class Context(Protocol):
    """The surroundings of a column of a chunk, for codecs with ``needs``."""

    @property
    def orientation(self) -> Orientation:
        """Of the bases."""
        ...

    def column(self, name: str) -> AnyColumn:
        """Another column of the chunk, without the steps of its own that need a context."""
        ...

    def genome(self) -> tuple[U8, I64]:
        """Letters of all references end to end, and their offsets; ReferenceNotFoundError if they are not found."""
        ...


def needs(codec: Codec) -> tuple[str, ...]:
    """Columns of the same chunk that a codec needs (its class attribute ``needs``); most need none."""
    return tuple(getattr(codec, "needs", ()))


def needed_columns(chain: list[dict[str, Any]], where: str = "codec chain") -> tuple[str, ...]:
    """Columns of the same chunk that a chain needs, from its JSON."""
    from agd.codecs.base import kind_of

    return tuple(name for config in chain for name in getattr(kind_of(config, where), "needs", ()))


def needs_reference(chain: list[dict[str, Any]], where: str = "codec chain") -> bool:
    """Whether a chain needs the reference, from its JSON; what needs other columns does, unless it says otherwise."""
    from agd.codecs.base import kind_of

    kinds = [kind_of(config, where) for config in chain]
    return any(getattr(kind, "needs", ()) and getattr(kind, "needs_reference", True) for kind in kinds)


def lacking_letters(codec: str) -> CodecError:
    """The error where an embedded reference does not reach as far as the alignments do."""
    return CodecError(
        codec, "reference", "the embedded reference lacks letters under these alignments",
        "keep what alignments that were made since then need of it: agd recompress DATASET --embed-reference "
        "(if none were: agd verify DATASET)",
    )  # fmt: skip
