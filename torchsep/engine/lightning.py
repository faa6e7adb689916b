"""PyTorch Lightning without its announcements, and with interrupts as Python raises them."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["interruptible", "quiet"]

_IRRELEVANT = (
    ".*does not have many workers.*",
    ".*LeafSpec.*",  # Lightning's own use of torch
    ".*it is recommended to use.*devices=1.*",  # no item is scored twice: the data loader deals them out
    ".*smaller than the logging interval.*",
    ".*exists and is not empty.*",
    "Total length of `list` across ranks is zero.*",  # no validation data
    ".*could not find the monitored key.*",  # before the first validation
)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Lightning's messages on every run, and warnings that do not apply here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for message in _IRRELEVANT:
            warnings.filterwarnings("ignore", message=message)
        yield


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C, where Lightning raises SystemExit and ignores further signals.

    Raises:
        KeyboardInterrupt: if the run inside is interrupted.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stop
