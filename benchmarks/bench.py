"""Our commands next to their peers, in turn, in one run: ``make bench [SIZE=1M] [R1=… R2=… REF=…]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from cases import AGD, Case, cases, missing
from measure import CommandFailedError, Run, median, run

COUNTS = {"100k": 100_000, "1M": 1_000_000, "5M": 5_000_000}


def main() -> None:
    """Make the inputs, run the cases, write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="1M", choices=COUNTS)
    parser.add_argument("--reads1")
    parser.add_argument("--reads2")
    parser.add_argument("--reference")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="Run the cases whose name contains this.")
    parser.add_argument("--folder", type=Path, default=Path("bench-data"))
    options = parser.parse_args()
    folder = (options.folder / ("own" if options.reads1 else options.size)).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    make_inputs(folder, options)
    rows = []
    for case in cases(options.threads):
        if options.only in case.name:
            row = measure(case, folder, options.runs)
            rows.append(row)
            print(line(row), flush=True)
    report = {"machine": machine(), "size": folder.name, "threads": options.threads, "rows": rows,
              "sizes": sizes(folder)}  # fmt: skip
    (folder / "report.json").write_text(json.dumps(report, indent=2))
    (folder / "report.md").write_text(markdown(report))
    plot(report, folder / "report.svg")
    print(f"\n{markdown(report)}\nwritten: {folder}/report.md, report.json, report.svg")


def agd(folder: Path, *arguments: str) -> None:
    """Run one of our commands while making the inputs."""
    subprocess.run([AGD, *arguments, "--quiet"], cwd=folder, check=True)


def make_inputs(folder: Path, options: argparse.Namespace) -> None:
    """Reads, alignments and sorted alignments, as files and as datasets; kept from one run to the next."""
    if not (folder / "R2.fastq.gz").exists():
        if options.reads1:
            for source, name in ((options.reads1, "R1.fastq.gz"), (options.reads2, "R2.fastq.gz"),
                                 (options.reference, "ref.fa")):  # fmt: skip
                shutil.copy(source, folder / name)
        else:
            agd(folder, "simulate", "R1.fastq.gz", "R2.fastq.gz", "--pairs", str(COUNTS[options.size]), "--genome",
                "ref.fa", "--truth", "truth.tsv", "--genome-length", "10M", "--profile", "hiseq")  # fmt: skip
    for name in ("R1", "R2"):
        if not (folder / f"{name}.fq").exists():
            with open(folder / f"{name}.fq", "wb") as file:
                subprocess.run(["gzip", "-dc", f"{name}.fastq.gz"], cwd=folder, check=True, stdout=file)
    if not (folder / "reads.agd").exists():
        agd(folder, "import", "fastq", "R1.fastq.gz", "R2.fastq.gz", "-o", "reads.agd")
    if not (folder / "sorted.agd").exists():
        agd(folder, "import", "fastq", "R1.fastq.gz", "R2.fastq.gz", "-o", "aligned.agd", "--overwrite")
        agd(folder, "align", "aligned.agd", "-r", "ref.fa", "-R", r"@RG\tID:s\tSM:s\tLB:l")
        agd(folder, "export", "bam", "aligned.agd", "-o", "aligned.bam")
        agd(folder, "sort", "aligned.agd", "-o", "sorted.agd")
        agd(folder, "export", "bam", "sorted.agd", "-o", "sorted.bam")
    if shutil.which("samtools") and not (folder / "fixed.bam").exists():
        subprocess.run("samtools fixmate -m aligned.bam - | samtools sort -o fixed.bam -", shell=True, cwd=folder,
                       check=True, stderr=subprocess.DEVNULL)  # fmt: skip
    for made, command in (
        ("ref.fa.bwt", "bwa index ref.fa"), ("ref.mmi", "minimap2 -x sr -d ref.mmi ref.fa"),
        ("ref.snap", "snap-aligner index ref.fa ref.snap"),
    ):  # fmt: skip
        if shutil.which(command.split()[0]) and not (folder / made).exists():
            subprocess.run(command.split(), cwd=folder, check=True, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


def measure(case: Case, folder: Path, runs: int) -> dict[str, Any]:
    """Run ours and the peer's in turn, after one run of each that is not counted."""
    found: dict[str, list[Run]] = {"ours": [], "peer": []}
    row: dict[str, Any] = {"name": case.name, "target": case.target, "by": case.by}
    absent = missing(case)
    if absent:
        row["missing"] = case.needs.removeprefix("python:")
    for i in range(runs + 1):
        for side, command in (("ours", case.ours), ("peer", case.peer)):
            if side == "peer" and absent:
                continue
            shutil.rmtree(folder / "out", ignore_errors=True)
            (folder / "out").mkdir()
            os.sync()  # nobody waits for what was written before
            try:
                result = run(command, folder)
            except CommandFailedError as error:
                row["failed"] = str(error)
                return row
            if i:
                found[side].append(result)
    for side, results in found.items():
        if results:
            middle = median(results)
            row[side] = {name: getattr(middle, name) for name in Run.__slots__}
            if side == "ours":
                row[side] |= {name: row[side][name] / case.times for name in ("wall", "cpu")}
    if not absent:
        for name, figure in (("ratio", "wall"), ("cpu_ratio", "cpu")):
            pairs = zip(found["ours"], found["peer"], strict=True)
            ratios = sorted(getattr(peer, figure) * case.times / getattr(ours, figure) for ours, peer in pairs)
            row[name] = ratios[len(ratios) // 2]
        row["met"] = row["cpu_ratio" if case.by == "cpu" else "ratio"] >= case.target
    return row


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    if "failed" in row:
        return f"| {row['name']} | failed: {row['failed'].splitlines()[0]} | | | | | |"
    ours = row["ours"]
    text = f"| {row['name']} | {_figures(ours)} "
    target = f"{row['target']}x" + (" by CPU" if row["by"] == "cpu" else "")
    if "missing" in row:
        return text + f"| {row['missing']} is not installed | | | {target} | |"
    return text + (
        f"| {_figures(row['peer'])} | {row['ratio']:.2f}x | {row['cpu_ratio']:.2f}x | {target} "
        f"| {'yes' if row['met'] else 'no'} |"
    )


def _figures(side: dict[str, Any]) -> str:
    return (
        f"{side['wall']:.2f} s, {side['cpu']:.2f} s CPU, {side['memory'] / 1e6:.0f} MB, "
        f"{side['read'] / 1e6:.0f} in, {side['written'] / 1e6:.0f} out"
    )


def markdown(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    head = ["| work | ours | peer | faster by | by CPU | target | met |", "|---|---|---|---|---|---|---|"]
    table = "\n".join([*head, *map(line, report["rows"])])
    size_rows = "\n".join(f"| {name} | {amount / 1e6:.1f} MB |" for name, amount in report["sizes"].items())
    return (
        f"{report['machine']}, {report['size']} pairs, {report['threads']} threads, medians; wall and CPU seconds,\n"
        f"peak memory, MB read and written\n\n{table}\n\n"
        f"| stored as | size |\n|---|---|\n{size_rows}\n"
    )


def sizes(folder: Path) -> dict[str, int]:
    """Sizes of the same records in other forms."""
    found = {}
    for name in ("reads.agd", "aligned.agd", "sorted.agd"):
        if (folder / name).exists():
            found[name] = sum(path.stat().st_size for path in (folder / name).iterdir())
    found["R1 + R2 .fastq.gz"] = sum((folder / f"{r}.fastq.gz").stat().st_size for r in ("R1", "R2"))
    for name in ("aligned.bam", "sorted.bam"):
        if (folder / name).exists():
            found[name] = (folder / name).stat().st_size
    if (folder / "sorted.bam").exists():
        for version, more in (("3.0", ""), ("3.1", ""), ("3.1", ",small")):
            label = f"CRAM {version}{more.replace(',', ' ')}"
            target = folder / f"sorted-{version}{more.replace(',', '-')}.cram"
            if not target.exists():
                code = ("import pysam,sys; pysam.samtools.view('-C', '-T', 'ref.fa', '-o', sys.argv[1], "
                        "'--output-fmt-option', sys.argv[2], 'sorted.bam', catch_stdout=False)")  # fmt: skip
                options = f"version={version}"
                command = [sys.executable, "-c", code, target.name, options]
                if more:
                    command[2] = code.replace("'sorted.bam'", "'--output-fmt-option', 'small', 'sorted.bam'")
                subprocess.run(command, cwd=folder, check=True)
            found[label] = target.stat().st_size
    return found


def machine() -> str:
    """What the figures were taken on."""
    model = next((x.split(": ")[1] for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x), "?")
    return f"{model}, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"


def plot(report: dict[str, Any], path: Path) -> None:
    """Ratios as bars, with the target of each as a line."""
    rows = [row for row in report["rows"] if "ratio" in row]
    scale = 400 / max([row["ratio"] for row in rows] + [row["target"] for row in rows] + [1])
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{30 * len(rows) + 20}" '
             'font-family="sans-serif" font-size="12">']  # fmt: skip
    for i, row in enumerate(rows):
        y = 30 * i + 10
        met = row["met"]
        parts.append(
            f'<text x="245" y="{y + 14}" text-anchor="end" fill="gray">{row["name"]}</text>'
            f'<rect x="255" y="{y}" width="{row["ratio"] * scale:.0f}" height="20" '
            f'fill="{"#2a9d8f" if met else "#e76f51"}"/>'
            f'<line x1="{255 + row["target"] * scale:.0f}" x2="{255 + row["target"] * scale:.0f}" y1="{y - 3}" '
            f'y2="{y + 23}" stroke="gray" stroke-width="2"/>'
            f'<text x="{260 + row["ratio"] * scale:.0f}" y="{y + 14}" fill="gray">{row["ratio"]:.1f}x</text>'
        )
    path.write_text("\n".join([*parts, "</svg>"]))


if __name__ == "__main__":
    main()
