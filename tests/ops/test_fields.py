"""Fields of alignments by byte ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import agd
from agd.dataset import Dataset
from agd.errors import FormatError, UsageError
from agd.ops.fields import FIELDS, alignment_fields
from agd.ops.recompress import recompress
from agd.storage import LocalStorage
from tests.support.columns import assert_equal


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Aligned pairs."""
    reads = [str(tmp_path / "R1.fq"), str(tmp_path / "R2.fq")]
    agd.simulate(*reads, genome=str(tmp_path / "ref.fa"), pairs=2000, genome_length=20_000, contigs=2)
    agd.import_fastq(reads[0], reads[1], output=str(tmp_path / "a.agd"))
    agd.align(Dataset.open(str(tmp_path / "a.agd")), str(tmp_path / "ref.fa"), read_group="@RG\tID:s\tSM:s")
    return Dataset.open(str(tmp_path / "a.agd"))


@pytest.mark.parametrize("fields", [["position"], ["flag", "cigar"], list(FIELDS)])
@pytest.mark.parametrize("codecs", [[{"name": "alignments"}], [{"name": "protobuf"}, {"name": "zstd"}]])
def test_fields_are_those_of_the_column(dataset: Dataset, fields: list[str], codecs: list[dict[str, Any]]) -> None:
    recompress(dataset, codecs={"results": codecs})
    dataset = Dataset.open(dataset.url)
    expected = dataset.read(dataset.chunks[0], ["results"]).alignments()
    found = alignment_fields(dataset, dataset.chunks[0], fields)
    assert set(found) - {"valid"} == set(fields)
    for name in fields:
        if name == "cigar":
            assert_equal(found[name], expected.cigar)
        else:
            np.testing.assert_array_equal(found[name], getattr(expected, name))


def test_positions_alone_are_few_bytes(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    read, get = [], LocalStorage.get

    def count(self: LocalStorage, key: str, start: int = 0, stop: int | None = None) -> bytes:
        data = get(self, key, start, stop)
        read.append(len(data))
        return data

    monkeypatch.setattr(LocalStorage, "get", count)
    alignment_fields(dataset, dataset.chunks[0], ["position"])
    assert sum(read) < dataset.chunks[0].cells["results"].bytes


def test_damage_and_wrong_requests(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="no field 'tags'"):
        alignment_fields(dataset, dataset.chunks[0], ["tags"])
    path = Path(dataset.url) / dataset.manifest.object_key("results", 0)
    data = bytearray(path.read_bytes())
    for place in range(1024 + 8, len(data)):
        data[place] ^= 255
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"a-000000000000\.results"):
        alignment_fields(dataset, dataset.chunks[0], ["position"])
