"""How an operation tells how far it is; what is shown, if anything, is the caller's business."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of an operation; called from one thread at a time."""

    def begin(self, label: str, total: int | None, unit: str = "reads") -> None:
        """A stage begins: ``total`` units of work, None if that is not known."""
        ...

    def advance(self, amount: int) -> None:
        """``amount`` more units are done."""
        ...

    def end(self) -> None:
        """The stage is over."""
        ...


class _Silent:
    def begin(self, label: str, total: int | None, unit: str = "reads") -> None:
        """Shows nothing."""

    def advance(self, amount: int) -> None:
        """Shows nothing."""

    def end(self) -> None:
        """Shows nothing."""


#: Shows nothing.
SILENT: Progress = _Silent()
