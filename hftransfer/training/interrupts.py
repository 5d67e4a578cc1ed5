"""Signals that ask a run to stop: it stops where it can go on later, and where it is when the time is up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None
_asked: list[int] = []
_HAS_TIMER = hasattr(signal, "setitimer")


class Interrupted(BaseException):
    """A signal asked the run to stop, and everything is as it was after the last whole step."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)

    def __reduce__(self) -> tuple[object, ...]:
        return Interrupted, (self.number,)

    @property
    def exit_status(self) -> int:
        """128 and the signal's number, as shells have it."""
        return 128 + self.number


@contextmanager
def listening(grace_seconds: float = 10.0) -> Iterator[None]:
    """Meanwhile SIGTERM and the first SIGINT are kept for `stop_if_asked`; a second SIGINT interrupts at once.

    Where nothing asks within the grace time, because data are read or a model is loaded, `Interrupted` is raised
    wherever the main thread is.

    Outside the main thread, where Python takes no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, _: FrameType | None) -> None:
        if _asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        _asked.append(number)
        if _HAS_TIMER:
            signal.setitimer(signal.ITIMER_REAL, grace_seconds)

    def time_is_up(*_: object) -> None:
        if _asked:
            raise Interrupted(_asked[0])

    before: dict[int, _Handler] = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    if _HAS_TIMER:
        before[signal.SIGALRM] = signal.signal(signal.SIGALRM, time_is_up)
    try:
        yield
    finally:
        if _HAS_TIMER:
            signal.setitimer(signal.ITIMER_REAL, 0)
        _asked.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_if_asked() -> None:
    """Return if no signal came.

    Raises:
        Interrupted: one came.
    """
    if _asked:
        if _HAS_TIMER:
            signal.setitimer(signal.ITIMER_REAL, 0)  # what follows is the checkpoint: it may take the time it needs
        raise Interrupted(_asked[0])
