"""Codecs: how a column becomes bytes. A chain per column, recorded in every header and in the manifest."""

from typing import TYPE_CHECKING, Any

from agd.codecs.alignment_streams import AlignmentStreams
from agd.codecs.base import Codec, Kind, load_known, names, register
from agd.codecs.base2 import Base2, PackedBases
from agd.codecs.chain import Chain, Encoded, decode_bytes, encode_bytes
from agd.codecs.compress import Gzip, Zstd
from agd.codecs.context import Context, needed_columns, needs_reference
from agd.codecs.rans import Rans
from agd.codecs.tag_streams import Tags

if TYPE_CHECKING:
    from agd.codecs.bases import Base3
    from agd.codecs.derived import Derived
    from agd.codecs.dinucleotides import Dinucleotides
    from agd.codecs.qualities import Fqz
    from agd.codecs.read_names import Names
    from agd.codecs.refdiff import RefDiff
    from agd.codecs.strand import Strand
    from agd.codecs.structured import Protobuf

__all__ = [
    "AlignmentStreams", "Base2", "Base3", "Chain", "Codec", "Context", "Derived", "Dinucleotides", "Encoded", "Fqz",
    "Gzip", "Kind", "Names", "PackedBases", "Protobuf", "Rans", "RefDiff", "Strand", "Tags", "Zstd", "decode_bytes",
    "encode_bytes", "names", "needed_columns", "needs_reference", "register",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    codec = load_known(name) if name in __all__ else None
    if codec is None:
        raise AttributeError(f"module 'agd.codecs' has no attribute {name!r}")
    return codec
