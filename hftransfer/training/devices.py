"""Where the computation runs and in which precision."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from hftransfer.base.errors import RecipeError, counted, must_be
from hftransfer.training.processes import ALONE, Processes, processes

if TYPE_CHECKING:
    from accelerate import Accelerator

# Tokens of a text for which as much room is left as for an image.
_TOKENS = 128
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Compute:
    """A device, the precision of the frozen part, how many examples go through it at once, and the processes that
    share the work."""

    device: torch.device
    precision: Literal["fp32", "bf16", "fp16"]
    batch_size: int
    processes: Processes = ALONE
    most_tokens: int | None = None
    """Of texts: fill a pass up to so many tokens instead, padding counted; short texts then go many at once."""

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the frozen part's weights and inputs."""
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]

    def autocast(self) -> torch.autocast:
        """Return a context in which float32 modules compute in this precision."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.precision != "fp32")

    def accelerator(self, **more: object) -> Accelerator:
        """Return an Accelerator for this device and precision."""
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        # One process may run several recipes; Accelerate refuses a second one of another precision.
        AcceleratorState._reset_state()
        precision = "no" if self.precision == "fp32" else self.precision
        return Accelerator(cpu=self.device.type == "cpu", mixed_precision=precision, **more)

    @property
    def backend(self) -> str:
        """Return what computes, as far as it shapes results."""
        if self.device.type == "cuda":
            return f"cuda {torch.cuda.get_device_name(self.device)} torch {torch.__version__}"
        # Kernels for other instructions round otherwise: what was kept is not what this machine computes.
        capability = torch.backends.cpu.get_cpu_capability() if self.device.type == "cpu" else ""
        return f"{self.device.type} {capability} torch {torch.__version__}"

    def describe(self) -> str:
        """Return device, processes and precision in a few words."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        threads = torch.get_num_threads()
        of_threads = f" of {counted(threads, 'thread')}" if self.device.type == "cpu" else ""
        return f"{name}, {counted(self.processes.count, 'process')}{of_threads}, {self.precision}"


def choose_compute(precision: Precision, batch_size: int | None) -> Compute:
    """Return the device that Accelerate finds, with the asked precision; auto is bf16 where the hardware computes it,
    fp16 (with scaled gradients) on older GPUs, else fp32.

    Raises:
        RecipeError: the device does not compute the asked precision.
    """
    from accelerate import PartialState

    together = processes()
    device = PartialState().device
    allowed = {"cpu": ("fp32", "bf16"), "mps": ("fp32", "fp16")}.get(device.type, ("fp32", "bf16", "fp16"))
    if precision not in ("auto", *allowed):
        where = f"on this device ({device.type})"
        raise RecipeError(must_be("train.precision", f"auto, {' or '.join(allowed)} {where}", precision))
    chosen: Literal["fp32", "bf16", "fp16"]
    if precision != "auto":
        chosen = precision
    else:
        chosen = "bf16" if computes_bf16(device) else "fp16" if device.type == "cuda" else "fp32"
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else its products may differ (see `repeatable`)
    size = batch_size or (16 if device.type == "cpu" else 128)
    return Compute(device, chosen, size, together, None if batch_size else size * _TOKENS)


@contextlib.contextmanager
def repeatable(*, on: bool) -> Iterator[None]:
    """Have a GPU add up numbers in the same order each time within the block, where it is on.

    Attention's gradients else differ from run to run in their last bits, and with them the weights.

    Raises:
        RuntimeError: an operation knows no such order (`has_no_order` tells this error from others).
    """
    if not on:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    other: Any = torch.utils.deterministic  # torch's stubs lack its setting
    # Filling new memory with NaN finds errors, and takes time at every tensor.
    fills, other.fill_uninitialized_memory = other.fill_uninitialized_memory, False
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        other.fill_uninitialized_memory = fills


def has_no_order(error: BaseException) -> bool:
    """Return whether an operation refused to compute because it can't do so in the same order each time."""
    return isinstance(error, RuntimeError) and "deterministic" in str(error).lower()


def has_amx() -> bool:
    """Return whether the processor has Intel's matrix units."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def computes_bf16(device: torch.device) -> bool:
    """Return whether the hardware multiplies bfloat16 matrices faster than float32 ones: AMX or AMD's AVX512-BF16 on
    CPU, Ampere and later."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    if has_amx():
        return True
    # AVX512-BF16 without AMX was measured on a Xeon at 0.65 to 0.8 of the speed of fp32, on an EPYC (Zen 4) at 1.6 to
    # 2 times it: frozen passes of ViT-Tiny, EfficientNet-Lite0 and MiniLM.
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("avx512_bf16")) and str(known.get("cpu_name", "")).startswith("AMD")


def keep_freed_memory() -> None:
    """Let glibc reuse the big buffers of a forward pass instead of returning each to the kernel.

    By default every buffer over 32 MB is mapped afresh and its pages are faulted in again, for every layer of every
    batch: measured on 2 cores, EfficientNet-Lite0 ran 1.5 times as fast with this.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h.
    trim_threshold, mmap_threshold = -1, -3
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)
