"""Remove what is not needed of whatever has a url: a dataset, and what an import or export in parts left beside it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from agd import claim
from agd.convert.inputs import describe_input
from agd.convert.many import is_joined, place_of
from agd.convert.pieces import PIECE, SUFFIX, absolute
from agd.errors import DatasetNotFoundError, InputError
from agd.footprint import Footprint
from agd.ops.gc import GcReport, gc
from agd.storage import TEMPORARY_PREFIX, Storage, is_stale, open_storage


def gc_at(url: str, *, drafts: bool = False, keep: int | None = None, dry_run: bool = False) -> GcReport:
    """Remove what is not needed of a dataset (:func:`agd.ops.gc.gc`), and beside a dataset or file.

    An import of many files, or an export, whose parts may still go on stays; when it was joined, and killed while it
    removed its parts, they are removed.

    Parameters
    ----------
    url : str
        Of a dataset, or of the (first) output of an export; the folder of its parts stands for it.
    drafts : bool
        Also remove what is unfinished, which then cannot be taken up again. Only while nobody writes.
    keep, dry_run
        As for a dataset.

    Returns
    -------
    GcReport
        Of both; keys of parts begin with the name of their folder.

    Raises
    ------
    DatasetNotFoundError
        There is nothing of AGD's, and no file.
    """
    url = url.rstrip("/").removesuffix(SUFFIX)
    target, storage = absolute(url), open_storage(url)
    if not any(any(_own(place)) for place in (storage, open_storage(target + SUFFIX))) and not _is_file(url):
        raise DatasetNotFoundError(
            f"{url}: there is no dataset here, and nothing that is left of one", "check the path or url"
        )
    return gc(storage, drafts=drafts, keep=keep, dry_run=dry_run) + _gc_parts(target, drafts, dry_run)


def _is_file(url: str) -> bool:
    try:
        describe_input(url)
    except InputError:
        return False
    return True


def _gc_parts(target: str, drafts: bool, dry_run: bool) -> GcReport:
    beside = open_storage(target + SUFFIX)
    record = claim.read(beside, claim.NEW)
    # The claim comes first and goes last but for what nobody can use without it.
    give_up = drafts or record is None or is_joined(target, record)
    inputs = (record or {}).get("plan", {}).get("inputs", ())
    stores = [*(open_storage(place_of(target, i)) for i in range(len(inputs))), beside]
    found = [(store, key, store.size(key) or 0) for store in stores for key in _own(store)]
    gone = [item for item in found if give_up or _is_left(item[1])]
    names = [f"{store.url.removeprefix(os.path.dirname(target) + '/')}/{key}" for store, key, _ in gone]
    if not dry_run:
        for store, key, _ in gone:
            store.delete(key)
        for store in stores if give_up else ():
            with contextlib.suppress(OSError):
                os.rmdir(store.url)
    kinds = ["temporary" if key.startswith(TEMPORARY_PREFIX) else "draft" if key.startswith("draft-") else "object"
             for _, key, _ in gone]  # fmt: skip
    return GcReport(
        temporary=kinds.count("temporary"), drafts=kinds.count("draft"), generations=0, objects=kinds.count("object"),
        bytes=sum(size for _, _, size in gone), kept=len(found) - len(gone), keys=tuple(names),
    )  # fmt: skip


def _own(storage: Storage) -> Iterator[str]:
    """Keys that are AGD's, the claim last."""
    own = Footprint.of(storage, (PIECE,) if storage.url.endswith(SUFFIX) else ())
    keys = (*own.manifests, *own.objects, *own.temporary, *own.records)
    yield from sorted(keys, key=lambda key: key == claim.NEW)


def _is_left(key: str) -> bool:
    return key.startswith(TEMPORARY_PREFIX) and is_stale(key)
