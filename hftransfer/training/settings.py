"""The `train:` part of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainSettings(BaseModel):
    """How the computation goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(0, ge=0, lt=2**32, description="drives the split of the data and everything random")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of the frozen part; auto is bf16 where the hardware computes it, else fp32"
    )
    inference_batch_size: int | None = Field(
        None, ge=1, description="examples per forward pass of the frozen part; 16 on CPU and 128 on GPU if left out"
    )
    cache: Literal["on", "off"] = Field("on", description="keep activations for later runs in the cache folder")
