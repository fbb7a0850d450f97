"""Every record that minibwa's hits become: consistent with its mate, and with the reference as samtools sees it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pysam
import pytest

from agd.aligners.align import align
from agd.dataset import Dataset
from agd.samheader import with_references
from tests.support.reads import Read, interleave, read_fastq, sam_lines, write_fasta

Make = Callable[..., Dataset]


def check(ds: Dataset, reference: Path, folder: Path) -> None:
    """NM and MD as ``samtools calmd`` recomputes them; mates as ``samtools fixmate`` would set them."""
    text = with_references("@HD\tVN:1.6\n", ds.manifest.references)
    source = folder / "found.sam"
    source.write_text(text + "\n".join(sam_lines(ds)) + "\n")
    lines = pysam.samtools.calmd(str(source), str(reference), catch_stdout=True).splitlines()
    recomputed = [line for line in lines if not line.startswith("@")]
    own = [line for line in pysam.samtools.view(str(source)).splitlines() if not line.startswith("@")]
    assert len(own) == len(recomputed) > 0
    for mine, theirs in zip(own, recomputed, strict=True):
        assert sorted(mine.split("\t")[11:]) == sorted(theirs.split("\t")[11:]), mine
    with pysam.AlignmentFile(str(source)) as file:
        records = list(file)
    for _, group in itertools.groupby(records, key=lambda r: r.query_name):
        check_pair(list(group))


def check_pair(records: list[pysam.AlignedSegment]) -> None:
    """Mate fields of all records of one pair."""
    primary = {r.is_read2: r for r in records if not r.is_secondary and not r.is_supplementary}
    assert sorted(primary) == [False, True]
    for r in records:
        mate = primary[not r.is_read2]
        assert (r.next_reference_id, r.next_reference_start) == (mate.reference_id, mate.reference_start)
        assert (r.mate_is_unmapped, r.mate_is_reverse) == (mate.is_unmapped, mate.is_reverse)
        assert r.has_tag("MC") == (not mate.is_unmapped)
        if not mate.is_unmapped:
            assert r.get_tag("MC") == mate.cigarstring
        if r.is_proper_pair:
            assert not r.is_unmapped
            assert not mate.is_unmapped
            if r is primary[r.is_read2]:
                assert r.reference_id == mate.reference_id
                assert r.is_reverse != mate.is_reverse
    first, second = primary[False], primary[True]
    assert first.template_length == -second.template_length
    assert first.is_proper_pair == second.is_proper_pair
    if first.is_unmapped != second.is_unmapped:
        assert (first.reference_id, first.reference_start) == (second.reference_id, second.reference_start)


@pytest.mark.parametrize("arguments", ["", "--secondary"])
def test_simulated(
    make_dataset: Make, pairs: list[Read], reference: Path, tmp_path: Path, arguments: str
) -> None:
    upper = write_fasta(tmp_path / "ref.fa", {})
    upper.write_text("".join(x if x[0] == ">" else x.upper() for x in reference.open()))
    some = [r for p in zip(pairs[::2], pairs[1::2], strict=True) if all(x[1] for x in p) for r in p]
    ds = make_dataset(some, chunk=100)
    align(ds, str(reference), aligner_args=arguments)
    check(Dataset.open(ds.url), upper, tmp_path)


@pytest.mark.data
@pytest.mark.parametrize("which", ["NA12878", "Shigella"])
def test_real(make_dataset: Make, data: Path, tmp_path: Path, which: str) -> None:
    import gzip

    if which == "NA12878":
        folder, genome = data / "human_na12878_chr20", "hg19_chr20_9995001_11095000.fa.gz"
        files = [folder / f"NA12878_chr20_R{k}.fastq.gz" for k in (1, 2)]
    else:
        folder, genome = data / "bacteria_shigella", "GCF_002949675.fna.gz"
        files = [folder / f"ERR6005894_R{k}.fastq.gz" for k in (1, 2)]
    reference = tmp_path / "ref.fa"
    reference.write_bytes(gzip.decompress((folder / genome).read_bytes()))
    reads = interleave(*(read_fastq(path)[:10_000] for path in files))
    ds = make_dataset(reads, chunk=4000)
    align(ds, str(reference))
    check(Dataset.open(ds.url), reference, tmp_path)
