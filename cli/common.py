"""What the verbs share: options, progress bars, reports."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from agd.cli.terminal import colour

F = TypeVar("F", bound=Callable[..., Any])

#: What a store is told, credentials among it: never noted.
STORAGE_OPTION = "--storage-option"


class Size(click.ParamType):
    """A number of bytes such as 512M or 4G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes."""
        from agd.errors import UsageError
        from agd.units import parse_size

        if isinstance(value, int):
            return value
        try:
            return parse_size(value)
        except UsageError as error:
            self.fail(error.message, param, ctx)


class Count(click.ParamType):
    """A number of things, whole and not below a minimum: 100000, 100k, 1.5M.

    Parameters
    ----------
    minimum : int
    """

    name = "count"

    def __init__(self, minimum: int = 1) -> None:
        self.minimum = minimum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        from decimal import Decimal

        whole, rest = r"[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+", r"(?:\.[0-9]+)?(?:e[0-9]{1,2})?"
        found = re.fullmatch(f"((?:{whole}){rest})([km]?)", str(value).lower())
        factor = {"": 1, "k": 1_000, "m": 1_000_000}[found[2]] if found else 0
        number = Decimal(found[1].replace(",", "")) * factor if found else Decimal()
        if found is None or number != int(number):
            self.fail(f"{value!r} is not a number such as 100000, 100k or 1.5M", param, ctx)
        if number < self.minimum:
            self.fail(f"{value!r} is less than {self.minimum}", param, ctx)
        return int(number)


def resources(function: F) -> F:
    """Options ``--threads`` and ``--memory``; the verb gets ``runner``, ``memory`` and ``progress``."""

    @click.option("--threads", "-t", type=click.IntRange(1), metavar="N", help="Threads. [default: all processors]")
    @click.option("--memory", "-m", type=Size(), metavar="SIZE", help="Most memory to use (peak RSS), such as 2G. "
                  "[default: half of what there is]")
    @click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
    @functools.wraps(function)
    def wrapper(*args: Any, threads: int | None, memory: int | None, quiet: bool, **kwargs: Any) -> Any:
        from agd.run import ThreadRunner
        from agd.run.memory import keep_freed

        if memory is None:
            keep_freed()
        with ThreadRunner(threads) as runner:
            return function(
                *args, runner=runner, memory=memory, progress=make_progress(quiet), quiet=quiet, **kwargs
            )

    return wrapper  # type: ignore[return-value]


def cluster_option(function: F) -> F:
    """Option ``--cluster``: the verb's runner is one of Dask, in place of threads; goes below :func:`resources`."""

    @click.option("--cluster", metavar="ADDRESS", help="Run on Dask: local:N processes, or a scheduler (tcp://…); "
                  "--memory, and --threads of local ones (1), are then for each process.")
    @functools.wraps(function)
    def wrapper(*args: Any, cluster: str | None, **kwargs: Any) -> Any:
        if cluster is None:
            return function(*args, **kwargs)
        from agd.run.dask import DaskRunner

        threads = click.get_current_context().params.get("threads") or 1
        with DaskRunner(cluster, memory=kwargs.get("memory"), threads=threads) as runner:
            return function(*args, **{**kwargs, "runner": runner})

    return wrapper  # type: ignore[return-value]


def partition_option(function: F) -> F:
    """Option ``--partition``; the verb gets a :class:`agd.ops.partition.Partition` or None."""

    def parse(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        from agd.ops.partition import Partition

        return Partition.parse(value)

    return click.option("--partition", callback=parse, metavar="I/N",
                        help="Do part I of N only; 'agd finalise' publishes when all are done.")(function)


def json_option(function: F) -> F:
    """Option ``--json``: the report as one JSON object on standard output."""
    return click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")(function)


def command_line() -> str:
    """The command as it was typed, for provenance: without options of stores, and credentials in urls."""
    from agd.urls import without_credentials

    words, typed = ["agd"], iter(sys.argv[1:])
    for word in typed:
        if word == STORAGE_OPTION:
            next(typed, None)
        elif not word.startswith(f"{STORAGE_OPTION}="):
            words.append(without_credentials(word))
    return shlex.join(words)


def make_progress(quiet: bool = False) -> Any:
    """A progress bar on standard error, or silence where nobody watches."""
    from agd.run import SILENT

    if quiet or not sys.stderr.isatty() or os.environ.get("TQDM_DISABLE") or os.environ.get("TERM") == "dumb":
        return SILENT
    return TqdmProgress()


class TqdmProgress:
    """Progress as one bar a stage, with rate and time to go; a copy in another process is silent."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __reduce__(self) -> str | tuple[Any, ...]:
        return (_silent, ())

    def begin(self, label: str, total: int | None, unit: str = "reads") -> None:
        """See :class:`agd.run.Progress`."""
        from tqdm import tqdm

        self.end()
        shown = "green" if colour(sys.stderr) else None
        self._bar = tqdm(
            total=total, desc=label, unit=f" {unit}", unit_scale=True, dynamic_ncols=True, file=sys.stderr,
            leave=False, colour=shown, smoothing=0.1,
        )  # fmt: skip

    def advance(self, amount: int) -> None:
        """See :class:`agd.run.Progress`."""
        if self._bar is not None:
            self._bar.update(amount)

    def end(self) -> None:
        """See :class:`agd.run.Progress`."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _silent() -> Any:
    from agd.run import SILENT

    return SILENT


def report(result: Any, as_json: bool, quiet: bool, text: str) -> None:
    """Print what a verb has done: JSON on standard output, or one line for people on standard error."""
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2))
    elif not quiet:
        click.echo(text, err=True)


def report_part(result: Any, partition: Any, target: str, records: int, as_json: bool, quiet: bool) -> None:
    """As :func:`report`, after a part of a step."""
    from agd.units import format_seconds

    took = format_seconds(result.seconds)
    report(result, as_json, quiet, f"{target}: part {partition}: {records:,} records in {took}; "
           f"'agd finalise {target}' publishes when all parts are done")  # fmt: skip


def refuse_json(as_json: bool, *outputs: str | None) -> None:
    """Refuse ``--json`` where standard output is for the data: a report after them would be taken for more of them."""
    if as_json and any(output in ("-", "/dev/stdout", "/dev/fd/1") for output in outputs):
        raise click.UsageError("--json prints on standard output, where the data go: write these to a file")


def refuse_options(names: Collection[str], reason: str) -> None:
    """Refuse options that were given and would have no effect."""
    context = click.get_current_context()
    for option in context.command.params:
        if option.name in names and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            # Of two names for yes and no the one that was given.
            off = option.secondary_opts and context.params.get(option.name) is False
            raise click.UsageError(f"{(option.secondary_opts if off else option.opts)[-1]} {reason}")


def codec_options(values: tuple[str, ...]) -> dict[str, list[dict[str, Any]]] | None:
    """Codec chains from options such as ``bases=base3,zstd:3``: names joined by commas, a level after a colon.

    Raises
    ------
    click.BadParameter
        Not of this form, or there is no such codec or level.
    """
    from agd.codecs import Chain
    from agd.errors import FormatError

    chains: dict[str, list[dict[str, Any]]] = {}
    for value in values:
        column, equals, text = value.partition("=")
        if not equals or not column:
            raise click.BadParameter(f"{value!r}: give COLUMN=CODEC[,CODEC…], such as bases=base3,zstd:3")
        chain: list[dict[str, Any]] = []
        for part in filter(None, text.split(",")):
            name, colon, level = part.partition(":")
            if colon and not re.fullmatch(r"-?[0-9]{1,9}", level):
                raise click.BadParameter(f"{value!r}: {level!r} is not a level")
            if name != "none":
                chain.append({"name": name, **({"level": int(level)} if colon else {})})
        try:
            Chain.from_json(chain, column)
        except FormatError as error:
            raise click.BadParameter(f"{value!r}: {error.reason}") from error
        chains[column] = chain
    return chains or None


def dataset_options(function: F) -> F:
    """Options of every verb that writes a dataset: how it is stored; the verb gets them as a dict, ``storing``."""

    @click.option("--chunk-records", "-c", type=Count(), default="100k", show_default=True, metavar="N",
                  help="Records in a chunk.")
    @click.option("--profile", type=click.Choice(["fast", "balanced", "small"]),
                  help="Codecs to choose from on a sample of every chunk; 'small' takes longest. "
                  "[default: fast ones, without a choice]")
    @click.option("--codec", "codec", multiple=True, metavar="COLUMN=CODECS",
                  help="Codec chain of a column, such as qualities=zstd:3; may be repeated.")
    @click.option("--overwrite", is_flag=True, help="Replace what is there; it is removed when "
                  "the new one begins.")
    @functools.wraps(function)
    def wrapper(
        *args: Any, chunk_records: int, profile: str | None, codec: tuple[str, ...], overwrite: bool, **kwargs: Any
    ) -> Any:
        storing = {
            "chunk_records": chunk_records, "profile": profile, "codecs": codec_options(codec), "overwrite": overwrite,
        }  # fmt: skip
        return function(*args, storing=storing, **kwargs)

    return wrapper  # type: ignore[return-value]
