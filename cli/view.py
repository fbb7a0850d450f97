"""``agd view``: print records as SAM text."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import command_line, refuse_options, resources


class FlagBits(click.ParamType):
    """A set of SAM flags: 2308, 0x904, or names such as SECONDARY,SUPPLEMENTARY."""

    name = "flags"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bits."""
        from agd.errors import UsageError
        from agd.selection import parse_flags

        try:
            return parse_flags(value)
        except UsageError as error:
            self.fail(error.message, param, ctx)


def selection_options(function: Any) -> Any:
    """Options that choose records; the verb gets them as keywords of :func:`make_selection`."""
    for option in (
        click.option("--expr", "-e", "expression", metavar="EXPR",
                     help="Only where it holds, such as 'mapq >= 30 and [NM] < 3' (see agd view --help)."),
        click.option("--rg", "read_groups", multiple=True, metavar="ID", help="Only this read group; may be repeated."),
        click.option("-q", "--min-mapq", type=click.IntRange(0, 255), default=0, metavar="N",
                     help="Only with at least this mapping quality."),
        click.option("-F", "--exclude-flags", "exclude", type=FlagBits(), default=0, metavar="FLAGS",
                     help="Only with none of these flags, such as 2308 or SECONDARY,DUPLICATE."),
        click.option("-f", "--require-flags", "require", type=FlagBits(), default=0, metavar="FLAGS",
                     help="Only with all of these flags."),
    ):  # fmt: skip
        function = option(function)
    return function


def make_selection(
    dataset: Any, regions: tuple[str, ...], require: int, exclude: int, min_mapq: int, read_groups: tuple[str, ...],
    expression: str | None = None,
) -> Any:
    """Selection from the options."""
    from agd.ops.expression import Expression
    from agd.ops.select import Selection, parse_region

    return Selection(
        tuple(parse_region(region, dataset.manifest.references) for region in regions), require, exclude, min_mapq,
        tuple(group.encode() for group in read_groups),
        Expression(expression, dataset.manifest.references) if expression else None,
    )  # fmt: skip


@click.command("view", context_settings=CONTEXT)
@click.argument("dataset")
@click.argument("regions", nargs=-1)
@selection_options
@click.option("-c", "--count", is_flag=True, help="Print the number of records only.")
@click.option("-h", "--with-header", is_flag=True, help="Print the header too.")
@click.option("-H", "--header-only", is_flag=True, help="Print the header only.")
@click.option("--columns", metavar="FIELDS", help="Print these fields only, such as QNAME,FLAG,POS,TAGS.")
@click.option("--head", type=click.IntRange(0), metavar="N", help="Print (or count) the first N wanted records.")
@click.option("-o", "--output", default="-", show_default=True, help="File to write.")
@resources
def command(
    dataset: str, regions: tuple[str, ...], count: bool, with_header: bool, header_only: bool, head: int | None,
    columns: str | None, output: str, runner: Any, memory: int | None, progress: Any, quiet: bool, **conditions: Any,
) -> None:
    """Print the records of DATASET as SAM text, all of them or those that overlap REGIONS.

    A region is NAME, NAME:START or NAME:START-END (1-based, closed, commas allowed), or * for records without a place.
    In a dataset sorted by coordinate only the chunks that can hold wanted records are read.

    An expression has flag, mapq, pos, endpos, pnext, tlen, length, rlen, rname, rnext, tags as [NM], numbers, "texts",
    comparisons, + - * & | ^ ~ and the words and, or, not (or && || !).

    \b
    Examples:
      agd view sorted.agd chr20:10,000,000-10,000,500
      agd view sorted.agd -c -F 2308 -q 30
      agd view sorted.agd --expr 'flag & 2 and tlen > 500 and [NM] == 0 and rname == "chr20"'
      agd view s3://bucket/s.agd --head 5 --columns QNAME,RNAME,POS,TAGS
    """
    from agd.convert.sam_fields import parse_fields
    from agd.convert.sam_out import count_records, export_sam
    from agd.convert.streams import open_output
    from agd.dataset import Dataset

    if count:
        refuse_options(["with_header", "header_only", "columns"], "does not go with --count")
    if header_only:
        refuse_options(["head", "columns"], "does not go with --header-only")
    ds = Dataset.open(dataset)
    selection = make_selection(ds, regions, **conditions)
    if count:
        found = count_records(ds, selection, runner=runner)
        with open_output(output) as file:
            file.write(f"{found if head is None else min(found, head)}\n".encode())
        return
    export_sam(
        ds, output, header=with_header or header_only, records=not header_only, head=head, selection=selection,
        fields=parse_fields(columns) if columns else None, runner=runner, memory=memory,
        program="agd view" if with_header or header_only else "", command=command_line(),
    )  # fmt: skip
