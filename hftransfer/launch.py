"""Several processes of the same command on this machine, started and stopped together."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

from hftransfer.errors import RecipeError, must_be

_LAUNCHED = "HFTRANSFER_LAUNCHED"


def end_with_launcher() -> None:
    """Nothing; where this process was started by `launch` (and Linux can promise it) it is told to stop when the
    process that started it dies."""
    if os.environ.get(_LAUNCHED) and sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def launch(count: int, arguments: Sequence[str]) -> int:
    """The exit status of `hftransfer` with these arguments in `count` processes: that of the first that fails.

    Signals go to all of them, and all are stopped when one fails.

    Raises:
        RecipeError: there are fewer GPUs than processes, or this is one of several processes already.
    """
    if "WORLD_SIZE" in os.environ:
        raise RecipeError(must_be("--processes", "left out where torchrun or accelerate launch start them", count))
    import torch
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    devices = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if devices and count > devices:
        raise RecipeError(must_be("--processes", f"{devices} at most, one for each GPU", count))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // count)))
    os.environ[_LAUNCHED] = "1"
    logging.disable(logging.ERROR)  # the first process tells what is wrong
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
        signals_to_handle="SIGTERM,SIGINT",
    )
    try:
        elastic_launch(config, sys.executable)("-m", "hftransfer", *arguments)
    except SignalException as stopped:
        return 128 + int(stopped.sigval)
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode >= 0:
            return int(failure.exitcode)
        name = signal.Signals(-failure.exitcode).name
        print(f"error: process {rank} was ended by {name}, and the others with it", file=sys.stderr)
        return 128 - int(failure.exitcode)
    return 0


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
