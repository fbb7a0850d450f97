"""Peers and measurements that are no command of their own: ``python peers.py NAME ARGUMENTS``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable


def pysam_loop(path: str) -> None:
    """Look at every record the way most scripts do."""
    import pysam

    total = 0
    with pysam.AlignmentFile(path) as file:
        for record in file.fetch(until_eof=True):
            sequence, qualities = record.query_sequence, record.query_qualities
            total += record.flag + len(sequence or "") + len(qualities or ())
    print(total)


def pysam_fields(path: str) -> None:
    """Take what an import takes: every field of every record, tags with their types."""
    import pysam

    total = 0
    with pysam.AlignmentFile(path) as file:
        for r in file.fetch(until_eof=True):
            fields = (r.query_name, r.flag, r.reference_id, r.reference_start, r.mapping_quality, r.cigartuples,
                      r.next_reference_id, r.next_reference_start, r.template_length, r.query_sequence,
                      r.query_qualities, r.get_tags(with_value_type=True))  # fmt: skip
            total += len(fields)
    print(total)


def map_pair(reference: str, reads1: str, reads2: str, threads: str, aligned: str) -> None:
    """A bare loop over ready strings (plain FASTQ is read first) on as many threads.

    The insert size is that of our alignments, ``aligned``: without one minibwa looks for mates in another way.
    """
    from concurrent.futures import ThreadPoolExecutor

    import minibwa

    prefix = f"{reference}.bare"
    if not os.path.exists(f"{prefix}.mbw"):
        minibwa.Index.build(reference, prefix, threads=int(threads))
    index = minibwa.Index.load(prefix)
    options = minibwa.Opts("sr")
    options.set_paired(True)
    with open(os.path.join(aligned, "manifest.json")) as file:
        steps = [step.get("parameters", {}) for step in json.load(file)["steps"]]
    options.set_pe_insert_size(*next(step["insert_size"] for step in reversed(steps) if "insert_size" in step))
    texts = []
    for path in (reads1, reads2):
        with open(path) as file:
            texts.append(file.read().split("\n")[1::4])
    count = len(texts[0])

    def work(part: range) -> None:
        one, two = texts
        for i in part:
            minibwa.map_pair(index, options, "r", one[i], "r", two[i])

    step = 50_000
    with ThreadPoolExecutor(int(threads)) as pool:
        list(pool.map(work, [range(i, min(count, i + step)) for i in range(0, count, step)]))


def polars_bio(path: str) -> None:
    """All columns of a BAM file into a frame."""
    import polars_bio

    print(polars_bio.scan_bam(path).collect().height)


def oxbow(path: str) -> None:
    """All columns of a BAM file into Arrow."""
    import oxbow

    print(oxbow.from_bam(path).to_arrow().num_rows if hasattr(oxbow.from_bam(path), "to_arrow")
          else oxbow.from_bam(path).pl().height)  # fmt: skip


def agd_arrow(path: str) -> None:
    """All columns of a dataset into Arrow."""
    import agd

    with agd.ThreadRunner(2) as runner:
        print(agd.open(path).to_arrow(runner=runner).num_rows)


def agd_flagstat(path: str, times: str) -> None:
    """Count the flags of a dataset again and again, from its url each time."""
    import agd

    for _ in range(int(times)):
        print(agd.flagstat(agd.open(path)))


def main() -> None:
    """Run the peer that is asked for."""
    known: dict[str, Callable[..., None]] = {
        "pysam-loop": pysam_loop, "pysam-fields": pysam_fields, "map-pair": map_pair, "polars-bio": polars_bio,
        "oxbow": oxbow, "agd-arrow": agd_arrow, "agd-flagstat": agd_flagstat,
    }  # fmt: skip
    known[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
