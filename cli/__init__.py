"""The ``agd`` command: one file a verb, imported when it is called, and one place where errors become exit codes."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

#: Verbs in the order of the help text: name → (module, short help).
VERBS = {
    "import": ("agd.cli.import_", "Make a dataset from FASTQ, SAM, BAM or CRAM."),
    "align": ("agd.cli.align", "Align the reads; adds the results column."),
    "pipeline": ("agd.cli.pipeline", "From FASTQ to a sorted BAM in one go."),
    "sort": ("agd.cli.sort", "Sort into a new dataset."),
    "dedup": ("agd.cli.dedup", "Mark duplicates; adds a small column."),
    "finalise": ("agd.cli.finalise", "Publish a step that was run in parts."),
    "bin": ("agd.cli.bin", "Put base qualities into bins (lossy)."),
    "recompress": ("agd.cli.recompress", "Store columns with other codecs."),
    "export": ("agd.cli.export", "Write BAM, SAM, CRAM or FASTQ."),
    "flagstat": ("agd.cli.flagstat", "Count records by flags, as samtools flagstat."),
    "idxstats": ("agd.cli.idxstats", "Count records by reference, as samtools idxstats."),
    "stats": ("agd.cli.stats", "Summary numbers, as samtools stats."),
    "coverage": ("agd.cli.coverage", "Coverage of references or regions, as samtools coverage."),
    "depth": ("agd.cli.depth", "Depth of every position, as bedGraph or by position."),
    "report": ("agd.cli.report", "One page on the quality of reads and alignments."),
    "ls": ("agd.cli.ls", "List the datasets in a folder."),
    "info": ("agd.cli.info", "Show what a dataset holds."),
    "view": ("agd.cli.view", "Print records as SAM text."),
    "merge": ("agd.cli.merge", "Merge sorted datasets."),
    "collate": ("agd.cli.collate", "Bring the records of each name together."),
    "fixmate": ("agd.cli.fixmate", "Fill in what records say of their mates."),
    "cat": ("agd.cli.cat", "Concatenate datasets."),
    "subset": ("agd.cli.subset", "Write some records into a new dataset."),
    "column": ("agd.cli.column", "List, drop and rename columns."),
    "reheader": ("agd.cli.reheader", "Exchange the SAM header."),
    "verify": ("agd.cli.verify", "Check a dataset, or compare it with its source."),
    "repair": ("agd.cli.repair", "Mend a damaged dataset."),
    "log": ("agd.cli.log", "Show the generations of a dataset."),
    "checkout": ("agd.cli.checkout", "Go back to an older generation."),
    "gc": ("agd.cli.gc", "Remove what is not needed any more."),
    "simulate": ("agd.cli.simulate", "Simulate a genome and read pairs."),
    "completion": ("agd.cli.completion", "Complete verbs and options in a shell."),
}

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Place(click.ParamType):
    """A path or url: shells complete names of files."""

    name = "text"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Leave it to the shell."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class ReaderGoneError(Exception):
    """The reader of a pipe that standard output goes to has seen enough."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called: ``agd --version`` must not wait for numpy."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; click itself takes a closed pipe for a failure."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the verbs, in the order of the help text."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a verb."""
        if name not in VERBS:
            return None
        import importlib

        command: click.Command = importlib.import_module(VERBS[name][0]).command
        _add_storage_option(command)
        if "_AGD_COMPLETE" in os.environ:
            _complete_places(command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Verbs and options, without importing the verbs."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=text) for name, (_, text) in VERBS.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


def _complete_places(command: click.Command) -> None:
    """Let what is free text be completed as a file, unless the verb knows better."""
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _complete_places(below)
    for param in command.params:
        if param.type is click.STRING and param.name != "column":
            param.type = Place()


def _add_storage_option(command: click.Command) -> None:
    """Give a verb, and the verbs below it, the option ``--storage-option``."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _add_storage_option(below)
    elif not any(parameter.name == "storage_option" for parameter in command.params):
        command.params.append(click.Option(
            ["--storage-option"], multiple=True, metavar="KEY=VALUE", expose_value=False, is_eager=True,
            callback=_set_storage_options, help="Option of the object store, such as endpoint_url=http://host:9000.",
        ))  # fmt: skip


def _set_storage_options(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> None:
    if values:
        from agd.storage import set_defaults

        set_defaults(values)


@click.command(cls=LazyGroup, context_settings=CONTEXT, invoke_without_command=True)
@click.option("--version", is_flag=True, help="Show the version and exit.")
@click.pass_context
def agd(ctx: click.Context, version: bool) -> None:
    """Reads and alignments as a table: columns × chunks, in any store.

    \b
    From reads to BAM:
      agd import fastq R1.fastq.gz R2.fastq.gz -o s.agd
      agd align s.agd --reference ref.fa
      agd sort s.agd -o sorted.agd
      agd export bam sorted.agd -o out.bam
    """
    if version:
        from agd import __version__

        click.echo(f"agd {__version__}")
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; exit with 0 (done), 1 (failed), 2 (wrong request) or 130 (interrupted)."""
    signal.signal(signal.SIGTERM, _terminate)
    # numpy starts a thread for every processor for linear algebra, of which there is none here; each spins for a while.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Nor large pages for arrays: a host that takes back what its virtual machine has freed lets these be waited for.
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    # What Python loads is no garbage: to look for some after each 700 new objects is a tenth of the time of a start.
    gc.set_threshold(10_000)
    code = run(arguments)
    atexit._run_exitfuncs()
    # All is done but this. What Python would then take apart piece by piece, for 20 ms, goes with the process.
    os._exit(_flushed(code))


def _flushed(code: int) -> int:
    """The exit code, once what was printed has gone out: another one if that fails."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # the caller may have closed it
                stream.flush()
    except BrokenPipeError:
        pass  # whoever read has all that they want
    except OSError as error:
        return code or _explain(error)
    return code


def _terminate(number: int, frame: Any) -> NoReturn:
    # Like Ctrl-C: every clean-up on the way out runs.
    raise KeyboardInterrupt


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    try:
        done = agd.main(args=None if arguments is None else list(arguments), prog_name="agd", standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("\nagd: interrupted; nothing half-written is visible, run the same command again to go on", err=True)
        return 130
    except ReaderGoneError:
        # Let the interpreter not fail again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        _complain("out of memory", "use fewer --threads or a smaller --memory")
        return 1
    except Exception as error:
        return _explain(error)
    # Verbs return nothing; a number is the code of an Exit that click has caught.
    return done if isinstance(done, int) else 0


def _explain(error: Exception) -> int:
    from agd.errors import AgdError, UsageError

    if isinstance(error, AgdError):
        _complain(error.message, error.remedy)
        return 2 if isinstance(error, UsageError) else 1
    if isinstance(error, OSError) and error.strerror:
        _complain(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
        return 1
    raise error


def _complain(message: str, remedy: str = "") -> None:
    from agd.cli.terminal import say

    head = click.style("error:", fg="red", bold=True)
    hint = f"\n  {click.style('remedy:', fg='green', bold=True)} {remedy}" if remedy else ""
    say(f"agd: {head} {message}{hint}", err=True)
