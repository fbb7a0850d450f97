"""Records in no order, and the orders that samtools knows."""

from __future__ import annotations

import random

#: Orders by our names, and the options of samtools sort for them.
ORDERS = {
    "coordinate": [], "queryname": ["-n"], "queryname-lexicographic": ["-N"],
    "template-coordinate": ["--template-coordinate"], "tag:XX": ["-t", "XX"], "tag:AS": ["-t", "AS"],
}  # fmt: skip


def random_sam(records: int, seed: int = 1) -> str:
    """SAM text with many ties: pairs, single reads, unmapped ones, clips, and tags of every type."""
    rng = random.Random(seed)
    lines = ["@HD\tVN:1.6\tSO:unsorted", "@SQ\tSN:c2\tLN:5000", "@SQ\tSN:c1\tLN:3000", "@RG\tID:g1\tLB:lib2\tSM:s",
             "@RG\tID:g2\tLB:lib1\tSM:s", "@RG\tID:g3\tSM:s"]  # fmt: skip
    names = [f"r{rng.choice(['', '0', '00'])}{rng.randrange(60)}:{rng.randrange(3)}" for _ in range(records // 4)]
    for _ in range(records):
        paired, unmapped, mate_unmapped = rng.random() < 0.8, rng.random() < 0.15, rng.random() < 0.15
        flag = rng.choice([0, 16]) | rng.choice([0, 0, 0, 0x400])
        flag |= rng.choice([0, 0, 0, 0x100, 0x800]) if not unmapped else 4
        if paired:
            flag |= 1 | rng.choice([0x40, 0x80]) | rng.choice([0, 0x20]) | (8 if mate_unmapped else 0)
        reference = rng.choice(["c1", "c2"]) if not unmapped or rng.random() < 0.5 else "*"
        position = rng.randrange(1, 40) if reference != "*" else 0
        cigar = rng.choice(["10M", "3S7M", "2H4M6S", "5M2D5M1H", "4M2I4M", "3S4M3S"]) if not unmapped else "*"
        length = {"2H4M6S": 10}.get(cigar, 10)
        mate = rng.choice(["=", "c1", "c2"]) if paired and reference != "*" else "*"
        bases = "".join(rng.choices("ACGTN", k=length))
        qualities = "".join(rng.choices("#-AFJ", k=length))
        tags = [f"RG:Z:{rng.choice(['g1', 'g2', 'g3', 'none'])}"]
        tags.append(f"MC:Z:{rng.choice(['10M', '4S6M', '6M4S', '2H3S5M', '5M3D5M2H'])}")
        tags += rng.choice([[], [f"MI:Z:{rng.randrange(12)}/{rng.choice('AB')}"], [f"MI:Z:{rng.randrange(3)}"]])
        tags += rng.choice([[], [f"CB:Z:{''.join(rng.choices('ACGT', k=2))}"]])
        tags += rng.choice([[], [f"AS:i:{rng.choice([-70000, -300, -5, 0, 5, 200, 300, 70000, 3000000000])}"]])
        tags += rng.choice([
            [], [f"XX:i:{rng.randrange(-3, 3)}"], [f"XX:f:{rng.choice([-2.5, -0.0, 0, 1, 1.5, 1e20])}"], ["XX:A:b"],
            ["XX:A:a"], [f"XX:Z:{rng.choice(['', 'a', 'ab', 'B'])}"], ["XX:H:1AE3"], ["XX:B:c,1,2"],
        ])  # fmt: skip
        lines.append("\t".join([
            rng.choice(names), str(flag), reference, str(position), "30", cigar, mate,
            str(rng.randrange(1, 40)) if mate != "*" else "0", "0", bases, qualities, *tags,
        ]))  # fmt: skip
    return "\n".join(lines) + "\n"
