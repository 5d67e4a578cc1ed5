"""The class of this machine's hardware, without its name."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

_BF16 = ("amx_bf16", "avx512_bf16", "bf16")  # the last is that of Arm
_FLAGS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX BF16"}


def describe(settings: dict[str, Any]) -> dict[str, Any]:
    """Cores, what the processor computes, the GPU, memory, versions, and whether it has bfloat16 at all."""
    import torch

    from hftransfer.training.devices import choose_compute, computes_bf16

    del settings
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split()) if cpuinfo.is_file() else set()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    device = choose_compute("fp32", None).device
    return {
        "cores": os.cpu_count(),
        "cpu": [name for flag, name in _FLAGS.items() if flag in flags],
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "memory_gib": round(memory),
        "bf16": computes_bf16(device) or not flags.isdisjoint(_BF16),
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
    }


def in_words(hardware: dict[str, Any]) -> str:
    """The class of hardware in a line."""
    cpu = ", ".join(hardware["cpu"]) or "unknown instructions"
    gpu = f", {hardware['gpu']}" if hardware["gpu"] else ""
    amx = "" if "AMX BF16" in hardware["cpu"] else ", no AMX"
    return f"{hardware['cores']} cores ({cpu}{amx}), {hardware['memory_gib']} GiB{gpu}"
