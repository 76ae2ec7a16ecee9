"""The command line: ``dtsvibe COMMAND``. Each command lives in the module of its name.

A command is imported when it is named or listed, and imports the heavy rest when it runs, so that
``dtsvibe --help`` answers at once.
"""

import atexit
import gc
import sys
from importlib import import_module
from typing import Final

import click

from dtsvibe_cli import __version__

COMMANDS: Final = (
    "run", "render", "info", "weights", "prepare", "synthesize", "train", "train-flow",
    "evaluate", "attention", "acceleration", "figure", "bench",
)  # fmt: skip
"""In the order that help lists them."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"{__name__}.{name}"), name)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dtsvibe")
def main() -> None:
    """Find the people in a video and how they move, and draw bodies over them.

    \b
    dtsvibe run dance.mp4 --out out       everything: motion files and a video to watch
    dtsvibe render out --view side        draw it again, from the side
    dtsvibe info                          what this machine can do

    Works offline and without a GPU. Each command has its own --help.
    """  # noqa: D301 (click reads \b)
    atexit.register(_leave_quickly)


def _leave_quickly() -> None:
    """Spare Python the search through all that torch has brought before it leaves: a second."""
    if "triton" not in sys.modules:  # it complains of all that is still there
        gc.freeze()
