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
    """The most memory it and its children were seen to hold at once; of it alone if that was more."""
    anonymous_bytes: int
    """The same without what is mapped from files."""


def run_process(command: list[str], variables: dict[str, str], folder: Path, limit_seconds: float) -> Finished:
    """How a command ended; after `limit_seconds` it is killed with its children."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=errors, env=variables, cwd=folder, start_new_session=True
        )
        whole = anonymous = highest = 0
        late = False
        try:
            while True:
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
                if ended:
                    break
                held = _held_bytes(process.pid)
                whole, anonymous = max(whole, held[0]), max(anonymous, held[1])
                highest = _figures(f"/proc/{process.pid}/status").get("VmHWM", highest)  # as the kernel kept it
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
    peak = max(whole, highest) or usage.ru_maxrss * 1024
    return Finished(process.returncode, printed, reason, seconds, peak, anonymous)


def _held_bytes(process: int) -> tuple[int, int]:
    """The memory of a process and all below it, whole and without mapped files; zeros where there is no /proc.

    Pages that several processes share, as those of a fork do, count once (PSS).
    """
    tree = _tree(process)
    if len(tree) == 1:
        found = _figures(f"/proc/{process}/status")
        return found.get("VmRSS", 0), found.get("RssAnon", 0)
    shares = [_figures(f"/proc/{one}/smaps_rollup") for one in tree]
    return sum(found.get("Pss", 0) for found in shares), sum(found.get("Pss_Anon", 0) for found in shares)


def _tree(process: int) -> list[int]:
    """A process and all below it."""
    found = [process]
    try:
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in (thread / "children").read_text(encoding="ascii").split():
                found += _tree(int(child))
    except OSError:  # it has ended meanwhile, or this is no Linux
        pass
    return found


def _figures(file: str) -> dict[str, int]:
    """The figures of a file of /proc in bytes; none where the process has ended meanwhile."""
    try:
        lines = Path(file).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    return {words[0].rstrip(":"): int(words[1]) * 1024 for line in lines if (words := line.split())[2:] == ["kB"]}
