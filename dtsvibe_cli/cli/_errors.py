"""How commands end: one sentence for a user's mistake, 130 for Ctrl-C, a traceback for our own."""

import functools
from collections.abc import Callable
from typing import Any

import click

from dtsvibe_cli.cli._console import configure_logging
from dtsvibe_cli.errors import DtsVibeError


def report_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--debug``, the log on stderr, and its manner of failing.

    Stands below the ``click`` decorators. The log heeds the command's ``quiet`` where it has one.
    """

    @click.option("--debug", is_flag=True, help="Show every message, and where an error came from.")
    @functools.wraps(command)
    def wrapped(*args: Any, debug: bool, **kwargs: Any) -> None:
        configure_logging(quiet=kwargs.get("quiet", False), debug=debug)
        try:
            command(*args, **kwargs)
        except DtsVibeError as error:
            if debug:
                raise
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            if debug:
                raise
            click.echo("Stopped.", err=True)
            raise click.exceptions.Exit(130) from None  # 128 + SIGINT, as shells have it

    return wrapped
