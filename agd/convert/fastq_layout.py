"""How FASTQ files that were imported ended their lines, and themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agd.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file ends its lines, and itself.

    Attributes
    ----------
    crlf : bool
        Lines end in carriage return and newline.
    final_newline : bool
        The last line of the last record has an end, too.
    trailer : str
        What comes after the last record: blank lines.
    """

    crlf: bool = False
    final_newline: bool = True
    trailer: str = ""

    def ended(self, text: bytes) -> bytes:
        """The last text of the file as it is to be."""
        cut = 0 if self.final_newline or not text else 2 if self.crlf else 1
        return text[: len(text) - cut] + self.trailer.encode()

    @staticmethod
    def of(source: Mapping[str, Any]) -> Layout:
        """Layout of an imported file, as the manifest notes it."""
        return Layout(
            source.get("line_ending") == "\r\n", bool(source.get("final_newline", True)), str(source.get("trailer", ""))
        )


def imported_layouts(manifest: Manifest, two: bool) -> tuple[Layout, Layout]:
    """How the imported files were laid out; only line endings where they are divided in another way now."""
    sources = [s for s in manifest.sources if s.get("format") == "fastq"]
    if not sources or sum(s.get("records", 0) for s in sources) != manifest.records:
        return Layout(), Layout()
    layouts = [Layout.of(source) for source in sources]
    if len(layouts) == 2 and two:
        return layouts[0], layouts[1]
    if len(layouts) == 1 and not two:
        return layouts[0], layouts[0]
    plain = Layout(crlf=layouts[0].crlf)
    return plain, plain
