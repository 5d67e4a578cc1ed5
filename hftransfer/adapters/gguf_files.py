"""Weights in GGUF, llama.cpp's file format, converted once into transformers' native layout."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path

from hftransfer.base.errors import ModelError, must_be
from hftransfer.base.extras import has_package


def convert_gguf(weights: Path, folder: Path) -> None:
    """Write the model in a GGUF file as config, safetensors in float32 and tokenizer.

    transformers 5.23 reads such files, and refuses to save what it read ("quantized with gguf and is not
    serializable"): the same weights in a model made from the configuration alone are saved.

    Raises:
        ModelError: the package that reads the format is not installed.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from hftransfer.adapters.libraries import quiet_transformers

    if not has_package("gguf"):
        remedy = "Install it: pip install 'hftransfer[bundled]'."
        raise ModelError(must_be("the package gguf, which reads these weights,", "installed", "none", remedy))
    place = {"gguf_file": weights.name, "trust_remote_code": False}
    # Its bar asks nobody.
    with quiet_transformers(), redirect_stderr(io.StringIO()):
        read = AutoModelForCausalLM.from_pretrained(str(weights.parent), dtype=torch.float32, **place)
        config = AutoConfig.for_model(**_settings(read.config.to_dict()))
        config.architectures = [type(read).__name__]
        model = type(read)(config)
        model.load_state_dict(read.state_dict())
        model.generation_config = read.generation_config
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(str(weights.parent), **place).save_pretrained(folder)


def _settings(config: dict[str, object]) -> dict[str, object]:
    """Return a configuration's settings without what is of the file they were read from."""
    return {name: value for name, value in config.items() if name not in ("quantization_config", "_name_or_path")}
