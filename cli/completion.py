"""``agd completion``: completion of verbs, options, files and columns in a shell."""

from __future__ import annotations

import click

from agd.cli import CONTEXT, agd


@click.command("completion", context_settings=CONTEXT)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a script that teaches SHELL to complete verbs, options, files and names of columns.

    \b
    Examples:
      agd completion bash > ~/.local/share/bash-completion/completions/agd
      agd completion zsh > ~/.zfunc/_agd          # with: fpath+=~/.zfunc; autoload -U compinit; compinit
      agd completion fish > ~/.config/fish/completions/agd.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    # The check of the version of bash in source() would run bash: the script works on those that can do it at all.
    complete = found(agd, {}, "agd", "_AGD_COMPLETE")
    click.echo(complete.source_template % complete.source_vars())
