"""A process that is watched: what it printed, how long it took, and the most memory it and its children held."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_LOOK_EVERY_SECONDS = 0.05


@dataclass(frozen=True)
class Finished:
    """How a process ended."""

    status: int
    output: str
    reason: str
    """The last line it wrote to stderr, or that it took too long."""
    seconds: float
    peak_bytes: int
    """The most memory it and its children held at once; of it alone if that was more."""
    anonymous_bytes: int
    """The same without what is mapped from files."""


def run_process(command: list[str], variables: dict[str, str], folder: Path, limit_seconds: float) -> Finished:
    """How a command ended; after `limit_seconds` it is killed with its children."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=errors, env=variables, cwd=folder, start_new_session=True
        )
        whole = anonymous = 0
        late = False
        try:
            while True:
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
                if ended:
                    break
                held = _held_bytes(process.pid)
                whole, anonymous = max(whole, held[0]), max(anonymous, held[1])
                late = time.perf_counter() - began > limit_seconds
                if late:
                    os.killpg(process.pid, signal.SIGKILL)
                time.sleep(_LOOK_EVERY_SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        printed, told = output.read(), errors.read().strip().splitlines()
    reason = f"it took longer than {limit_seconds:.0f} s" if late else told[-1][:300] if told else "it told nothing"
    return Finished(process.returncode, printed, reason, seconds, max(whole, usage.ru_maxrss * 1024), anonymous)


def _held_bytes(process: int) -> tuple[int, int]:
    """The resident memory of a process and all below it, whole and without mapped files; zeros where /proc is none."""
    whole = anonymous = 0
    try:
        for line in Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmRSS:"):
                whole = int(line.split()[1]) * 1024
            elif line.startswith("RssAnon:"):
                anonymous = int(line.split()[1]) * 1024
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in (thread / "children").read_text(encoding="ascii").split():
                below = _held_bytes(int(child))
                whole, anonymous = whole + below[0], anonymous + below[1]
    except OSError:  # it has ended meanwhile, or this is no Linux
        pass
    return whole, anonymous
