"""How busy a GPU is."""

import logging
import threading
from statistics import fmean
from types import TracebackType
from typing import Final

import torch

_LOG = logging.getLogger(__name__)

_SAMPLE_EVERY_S: Final = 0.05


class Utilisation:
    """Samples how busy a GPU is while the block runs, where that can be told."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._samples: list[int] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="utilisation", daemon=True)

    def __enter__(self) -> "Utilisation":
        if self._device.startswith("cuda"):
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def percent(self) -> float | None:
        """The mean; None when nothing could be told."""
        return fmean(self._samples) if self._samples else None

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLE_EVERY_S):
            try:
                self._samples.append(torch.cuda.utilization(self._device))
            except Exception as error:  # no pynvml, or whatever it raises where a driver is silent
                _LOG.info("How busy %s is cannot be told: %s", self._device, error)
                return
