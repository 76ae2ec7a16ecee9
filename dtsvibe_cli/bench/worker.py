"""A process that runs functions for us, one at a time, and nothing else.

What is measured there shares no memory, no caches and no thread settings with anything else.
"""

import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from dtsvibe_cli.errors import DtsVibeError

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


class WorkerEndedError(DtsVibeError):
    """The process ended in the middle of its work."""


class Worker:
    """A fresh Python process as a context manager; it keeps what its modules cache between calls.

    Functions are those of modules; they, their arguments and answers must be picklable.
    """

    def __enter__(self) -> "Worker":
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,))
        self._process.start()
        theirs.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pipe.close()
        if kind is not None:
            self._process.terminate()
        self._process.join()

    def run(
        self, function: Callable[Given, Answer], *args: Given.args, **keywords: Given.kwargs
    ) -> Answer:
        """What the function gives there; what it raises is raised here.

        Raises:
            WorkerEndedError: The process is gone, most often because memory ran out.
        """
        try:
            self._pipe.send((function, args, keywords))
            failed, answer = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self._process.join()
            raise WorkerEndedError(
                f"The process that was measured ended (exit code {self._process.exitcode}), most "
                "likely because memory ran out; choose a smaller or shorter clip."
            ) from error
        if failed:
            raise answer
        return answer  # type: ignore[no-any-return]


def _serve(pipe: "Connection[Any, Any]") -> None:
    """Answer calls until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us hears it too, and ends us
    while True:
        try:
            function, args, keywords = pipe.recv()
        except EOFError:
            return
        try:
            answer = False, function(*args, **keywords)
        except Exception as error:
            answer = True, error
        pipe.send(answer)
