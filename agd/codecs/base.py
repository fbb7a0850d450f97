"""What a codec is, and the registry of all codecs.

A codec is one step of a chain. There are three kinds, and a chain has any number of VALUES steps, at most one PACK
step, and any number of BYTES steps, in this order. A chain without a PACK step lays the values end to end.
"""

from __future__ import annotations

import enum
import importlib
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from agd.batch import I64, AnyColumn
from agd.errors import CodecError, UnknownCodecError


class Kind(enum.Enum):
    """What a codec turns into what."""

    VALUES = "values → values"
    PACK = "values → bytes"
    BYTES = "bytes → bytes"


@runtime_checkable
class Codec(Protocol):
    """A named, versioned, JSON-configured step of a chain.

    A name and version are a promise: what they once wrote can be read for ever. A codec that must change gets a new
    version, and keeps decoding the old ones.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    kind: ClassVar[Kind]

    def config(self) -> dict[str, Any]:
        """The settings that are recorded beside the name; the constructor takes them back as keywords."""
        ...


class ValuesCodec(Codec, Protocol):
    """Turns a column into another column of as many records."""

    def encode(self, column: AnyColumn) -> AnyColumn:
        """The column to be stored."""
        ...

    def decode(self, column: AnyColumn) -> AnyColumn:
        """The column that was given to ``encode``."""
        ...


class PackCodec(Codec, Protocol):
    """Turns a column into bytes.

    Attributes
    ----------
    sized : bool
        True: the record sizes are kept in the relative index and handed back to ``decode``. False: the payload knows
        its sizes itself.
    """

    sized: ClassVar[bool]

    def encode(self, column: AnyColumn) -> Any:
        """Bytes-like payload."""
        ...

    def decode(self, data: memoryview, count: int, sizes: I64 | None) -> AnyColumn:
        """The column of ``count`` records that was given to ``encode``; CodecError or KernelError on bad data."""
        ...


class BytesCodec(Codec, Protocol):
    """Turns bytes into fewer bytes."""

    def encode(self, data: Any) -> Any:
        """Encoded bytes-like object."""
        ...

    def decode(self, data: Any, limit: int) -> Any:
        """The bytes that were given to ``encode``; CodecError, and no memory taken, if they are more than ``limit``."""
        ...


_registry: dict[str, Callable[..., Codec]] = {}

#: Codecs whose modules are loaded when one of them is asked for, which commands that do without need not wait for:
#: name → (module, class).
_KNOWN = {
    "base3": ("bases", "Base3"), "derived": ("derived", "Derived"), "dinucleotides": ("dinucleotides", "Dinucleotides"),
    "fqz": ("qualities", "Fqz"), "names": ("read_names", "Names"), "protobuf": ("structured", "Protobuf"),
    "refdiff": ("refdiff", "RefDiff"), "strand": ("strand", "Strand"),
}  # fmt: skip

C = TypeVar("C", bound=type[Any])


def register(codec: C) -> C:
    """Class decorator: make a codec known under its name."""
    name: str = getattr(codec, "name")  # noqa: B009 (a type variable has no such attribute)
    taken = name in _KNOWN and codec.__module__ != f"agd.codecs.{_KNOWN[name][0]}"
    if taken or _registry.get(name, codec) is not codec:
        raise ValueError(f"there is a codec {name!r} already")
    _registry[name] = codec
    return codec


def names() -> list[str]:
    """Names of all codecs."""
    _load_entry_points()
    return sorted({*_registry, *_KNOWN})


def load_known(wanted: str) -> Any:
    """The class of a codec of AGD by its name, or by that of the class; None where there is none to be loaded."""
    for name, (module, kind) in _KNOWN.items():
        if wanted in (name, kind):
            return getattr(importlib.import_module(f"agd.codecs.{module}"), kind)
    return None


def kind_of(config: dict[str, Any], where: str) -> Callable[..., Codec]:
    """Class of a codec from its JSON; errors as of :func:`make`."""
    name, version = config.get("name"), config.get("version", 1)
    if isinstance(name, str) and name not in _registry and load_known(name) is None:
        _load_entry_points()
    if not isinstance(name, str) or name not in _registry:
        raise UnknownCodecError(where, "codecs", f"there is no codec {name!r} here; known: {', '.join(names())}")
    known = getattr(_registry[name], "version", 1)
    if type(version) is not int or not 1 <= version <= known:
        raise UnknownCodecError(where, "codecs", f"codec {name!r} version {version!r}; this release has {known}")
    return _registry[name]


def make(config: dict[str, Any], where: str) -> Codec:
    """Codec from its JSON: ``{"name": …, "version": …, settings…}``.

    Raises
    ------
    UnknownCodecError
        The name, or the version, is not known here.
    CodecError
        The settings are not those of the codec.
    """
    kind = kind_of(config, where)
    name, settings = config["name"], {key: value for key, value in config.items() if key not in ("name", "version")}
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise CodecError(where, "codecs", f"codec {name!r} does not take {settings}: {error}") from error


def describe(codec: Codec) -> dict[str, Any]:
    """JSON of a codec, as recorded in headers and manifests."""
    version = {"version": codec.version} if codec.version != 1 else {}
    return {"name": codec.name, **version, **codec.config()}


_loaded = False


def _load_entry_points() -> None:
    """Codecs of other packages: entry points of the group ``agd.codecs``, each a codec class."""
    global _loaded
    if _loaded:
        return
    _loaded = True
    from importlib.metadata import entry_points

    for entry in entry_points(group="agd.codecs"):
        register(entry.load())
