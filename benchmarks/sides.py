"""The sides of a comparison, each in a process of its own, and what is told of their figures."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def in_process(module: str, role: str, arguments: Sequence[str], threads: int) -> dict[str, Any]:
    """What `python -m module --role role` prints in its last line, a JSON object."""
    command = [sys.executable, "-m", module, "--role", role, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if finished.returncode:
        sys.exit(f"{role} failed:\n{finished.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    print(f"  {role}: {finished.stdout.splitlines()[-1]}", file=sys.stderr)
    return found


def median(values: Iterable[float]) -> float:
    """The median, to four places."""
    return round(float(statistics.median(values)), 4)


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, lowest and highest value."""
    found = sorted(values)
    return {"median": median(found), "low": round(found[0], 4), "high": round(found[-1], 4)}
