"""Where the freeze boundary is and what learns above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from hftransfer.adapters.base import Adapter


class LinearProbe(BaseModel):
    """Freezes the whole pretrained network; only one linear layer on its features learns (solved, not stepped)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["linear-probe"] = "linear-probe"
    l2: Literal["auto"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        "auto", description="L2 strength on standardised features; auto chooses it on the validation split"
    )

    def prepare(self, adapter: Adapter) -> int:
        """The boundary, at the head: all below it is frozen and in eval mode."""
        boundary = len(adapter.stages)
        adapter.freeze_below(boundary)
        return boundary


STRATEGIES: dict[str, type[BaseModel]] = {"linear-probe": LinearProbe}
