"""Claims: small records in the store which say who writes a new dataset, or a column of one (``docs/storage.md``).

A claim holds the plan of its draft, so that the same step, run again, takes up where it was stopped, and another step
is refused before it touches an object. It is removed when the draft is committed or abandoned.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from agd.errors import ConflictError, ObjectExistsError, ObjectNotFoundError
from agd.manifest import ColumnSpec, Manifest
from agd.storage import Storage

#: Claim on a dataset that is being made.
NEW = "draft-new.json"

#: Most attempts to place a claim while others place and remove theirs.
MAX_ATTEMPTS = 20


def claim_key(column: str) -> str:
    """Key of the claim on a column."""
    return f"draft-column-{column}.json"


def place(
    storage: Storage, key: str, record: Mapping[str, Any], is_over: Callable[[Mapping[str, Any]], bool] | None = None
) -> tuple[dict[str, Any], bool]:
    """Place a claim, or find the one of an earlier run with an equal plan.

    Parameters
    ----------
    storage : Storage
    key : str
    record : mapping
        JSON; its ``plan`` decides whether two claims are the same.
    is_over : callable, optional
        Tells from a record that is there that it can never be committed any more; it is removed then.

    Returns
    -------
    record : dict
        The one in the store.
    found : bool
        Whether it was there already.

    Raises
    ------
    ConflictError
        There is a claim with another plan.
    """
    # The writer's own mark: after a request that was tried again, a claim that is there may be its own.
    data = json.dumps({**record, "writer": uuid.uuid4().hex, "shared": False}).encode()
    plan = json.loads(data)["plan"]
    for _ in range(MAX_ATTEMPTS):
        try:
            storage.put(key, data, exclusive=True)
        except ObjectExistsError:
            found = read(storage, key)
            if found is None:
                continue
            if is_over is not None and is_over(found):
                storage.delete(key)
                continue
            _compare(storage, found.get("plan"), plan)
            if not found.get("shared"):
                # Whoever began it may still be at work: from now on nobody removes what the other may need.
                storage.put(key, json.dumps({**found, "shared": True}).encode())
            return found, True
        return json.loads(data), False
    raise ConflictError(f"{storage.url}: others begin and end the same work all the time", "run it again")


def is_held(storage: Storage, key: str, writer: str) -> bool:
    """Whether a claim is there that this writer, or the one whose work it goes on with, has placed."""
    found = read(storage, key)
    return found is not None and found.get("writer", "") == writer


def is_shared(storage: Storage, key: str) -> bool:
    """Whether an equal run has taken up a claim since it was placed, or may have."""
    found = read(storage, key)
    return found is None or bool(found.get("shared", True))


def read(storage: Storage, key: str) -> dict[str, Any] | None:
    """The record of a claim: None if there is no such claim, {} if it is damaged."""
    try:
        found = json.loads(storage.get(key))
    except ObjectNotFoundError:
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _compare(storage: Storage, earlier: Any, plan: Mapping[str, Any]) -> None:
    if earlier == plan:
        return
    changed = [k for k in plan if not isinstance(earlier, dict) or earlier.get(k) != plan[k]]
    raise ConflictError(
        f"{storage.url}: an unfinished run with other inputs or parameters is here"
        + (f" (they differ in: {', '.join(changed)})" if changed else ""),
        "run it again as it was, or remove what it left with 'agd gc --drafts'",
    )


def place_on_column(
    storage: Storage, base: Manifest, column: str, spec: ColumnSpec, plan: Mapping[str, Any]
) -> tuple[ColumnSpec, str, bool]:
    """Claim a column, and choose the key of its objects; that of an earlier run with an equal plan is kept.

    Parameters
    ----------
    base : Manifest
        The newest generation.

    Returns
    -------
    spec : ColumnSpec
        With the key that the objects are written under: never one that any generation has used.
    writer : str
        Mark of who placed the claim; see :func:`is_held`.
    found : bool
        Whether an earlier run has begun it.
    """
    replaces = base.columns[column].key if column in base.columns else None
    record = {
        "id": base.id, "name": base.name, "plan": dict(plan), "key": free_key(base, spec.key), "replaces": replaces,
    }  # fmt: skip

    def is_over(found: Mapping[str, Any]) -> bool:
        return (found.get("id"), found.get("replaces")) != (base.id, replaces)

    placed, found = place(storage, claim_key(column), record, is_over)
    return ColumnSpec(spec.type, spec.codecs, placed["key"], spec.dtype), str(placed.get("writer", "")), found


def free_key(base: Manifest, key: str) -> str:
    """Key for the objects of a new column: this one, or, where a generation has used it, one that is new."""
    used = {column.key for column in base.columns.values()} | set(base.retired)
    return f"{key}~{base.generation + 1}" if key in used else key
