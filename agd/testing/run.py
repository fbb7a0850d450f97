"""Run the command line and die on purpose: ``python -m agd.testing.run --kill 7 --moment torn -- sort s.agd -o t.agd``.

Without ``--kill`` the number of writes (objects put and removed, pieces and ends of exported files) is written to the
file that ``--count`` names.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, cast

from agd import storage
from agd.testing.faults import Fault, FaultyStorage, Moment, Rule, kill_at


class _KillingSink:
    """A sink (:class:`agd.sinks.Sink`) whose writes are counted too."""

    def __init__(self, inner: Any, rule: Rule) -> None:
        self.inner, self.rule, self.name = inner, rule, inner.name

    def write(self, data: bytes | memoryview) -> None:
        fault = self._ask()
        if fault is not None and fault.moment != "before":
            self.inner.write(memoryview(data)[: len(data) // 2] if fault.moment == "torn" else data)
            fault.strike()
        self.inner.write(data)

    def commit(self) -> None:
        fault = self._ask()
        self.inner.commit()
        if fault is not None:
            fault.strike()

    def abort(self) -> None:
        self.inner.abort()

    def _ask(self) -> Fault | None:
        fault = self.rule("put", self.name)
        if fault is not None and fault.moment == "before":
            fault.strike()
        return fault


def _possible(fault: Fault | None, key: str) -> Fault | None:
    """Manifests and claims are small: no store tears them."""
    if fault is not None and fault.moment == "torn" and key.startswith(("manifest", "draft-")):
        return Fault(fault.strike)
    return fault


def main(arguments: list[str]) -> int:
    """Exit code of the command line, if it comes to that."""
    parser = argparse.ArgumentParser(prog="agd.testing.run")
    parser.add_argument("--kill", type=int, default=0, metavar="N")
    parser.add_argument("--moment", choices=["before", "torn", "after"], default="before")
    parser.add_argument("--count", metavar="FILE")
    parser.add_argument("command", nargs="+")
    chosen = parser.parse_args(arguments)
    rule = kill_at(chosen.kill, moment=cast(Moment, chosen.moment))
    storage.WRAPPERS.append(lambda inner: FaultyStorage(inner, lambda what, key: _possible(rule(what, key), key)))
    import importlib

    # Imported by name: the layers above are no business of this one but for this.
    outputs = importlib.import_module("agd.convert.outputs")
    plain = outputs.open_sink
    outputs.open_sink = lambda url, **options: _KillingSink(plain(url, **options), rule)  # type: ignore[attr-defined]
    code = int(importlib.import_module("agd.cli").run(chosen.command))
    if chosen.count:
        Path(chosen.count).write_text(str(getattr(rule, "seen", 0)))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
