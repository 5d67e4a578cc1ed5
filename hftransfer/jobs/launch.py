"""Several processes of the same command on this machine, started and stopped together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hftransfer.base.errors import RecipeError, must_be

_LAUNCHED = "HFTRANSFER_LAUNCHED"
# How long the others have to end by themselves after one failed.
_WAIT_SECONDS = 10.0


def end_with_launcher() -> None:
    """Have a process that `launch` started told to stop when the one that started it dies, where Linux can promise
    it."""
    if os.environ.get(_LAUNCHED) and sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def launch(count: int, arguments: Sequence[str]) -> int:
    """Return the exit status of `hftransfer` with these arguments in `count` processes: that of the first that fails.

    Each signal goes to all of them, which end within their own grace time; all are stopped when one fails. They find
    each other by the variables that torchrun sets.

    Raises:
        RecipeError: there are fewer GPUs than processes, or this is one of several processes already.
    """
    if "WORLD_SIZE" in os.environ:
        raise RecipeError(must_be("--processes", "left out when torchrun or accelerate launch starts them", count))
    import torch

    devices = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if devices and count > devices:
        raise RecipeError(must_be("--processes", f"at most {devices}, one per GPU", count))
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        # Each process would otherwise start a thread for every core.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, _cores() // count))),
        _LAUNCHED: "1",
    }
    started: list[subprocess.Popen[bytes]] = []
    with _passing_on_signals(started):
        for rank in range(count):
            environment = os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            command = [sys.executable, "-m", "hftransfer", *arguments]
            # In sessions of their own, so that a Ctrl-C in the terminal reaches each of them once: through us.
            started.append(subprocess.Popen(command, env=environment, start_new_session=True))
        return _ended(started)


def _ended(started: Sequence[subprocess.Popen[bytes]]) -> int:
    """Return the exit status of all: 0, or that of the first that failed."""
    while not (failed := [process for process in started if process.poll()]):
        if all(process.poll() == 0 for process in started):
            return 0
        time.sleep(0.05)
    # Below 0: the number of the signal that ended it.
    status = int(failed[0].returncode)
    if status > 0:  # it has told why, and the others have been told; a signal's grace time is their own
        by_signal = status in (128 + signal.SIGTERM, 128 + signal.SIGINT)
        _wait_for(started, None if by_signal else _WAIT_SECONDS)
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
    if status > 0:
        return status
    if -status not in (signal.SIGTERM, signal.SIGINT):  # those were asked for
        name = signal.Signals(-status).name
        print(
            f"error: process {started.index(failed[0])} was killed by {name}, and the others were stopped",
            file=sys.stderr,
        )
    # As shells give it: 128 and the number of the signal.
    return 128 - status


def _wait_for(started: Sequence[subprocess.Popen[bytes]], seconds: float | None) -> None:
    until = None if seconds is None else time.monotonic() + seconds
    while any(process.poll() is None for process in started) and (until is None or time.monotonic() < until):
        time.sleep(0.05)


@contextmanager
def _passing_on_signals(started: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Let SIGTERM and SIGINT go to the processes, and not to us, within the block."""

    def pass_on(number: int, _: object) -> None:
        for process in started:
            if process.poll() is None:
                process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
