"""A trained model behind an address of this machine; what serves is imported when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from hftransfer.base.errors import RecipeError, must_be
from hftransfer.base.extras import require_extra
from hftransfer.base.runs import at_newest

if TYPE_CHECKING:
    from hftransfer.predictors.dual import DualPredictor
    from hftransfer.predictors.load import Precisions
    from hftransfer.predictors.predictor import Predictor
    from hftransfer.predictors.server import Server


@overload
def serve(
    model: str | os.PathLike[str] | Predictor | DualPredictor,
    *,
    port: int = 8000,
    most_mb: float = 10.0,
    base: str | Path | None = None,
    precision: Precisions = "fp32",
    background: Literal[False] = False,
    tell: Callable[[str], None] = print,
) -> None: ...


@overload
def serve(
    model: str | os.PathLike[str] | Predictor | DualPredictor,
    *,
    port: int = 8000,
    most_mb: float = 10.0,
    base: str | Path | None = None,
    precision: Precisions = "fp32",
    background: Literal[True],
    tell: Callable[[str], None] = print,
) -> Server: ...


# More than eight arguments in all: what a person types, each by its name.
def serve(
    model: str | os.PathLike[str] | Predictor | DualPredictor,
    *,
    port: int = 8000,
    most_mb: float = 10.0,
    base: str | Path | None = None,
    precision: Precisions = "fp32",
    background: bool = False,
    tell: Callable[[str], None] = print,
) -> Server | None:
    """Answer inputs with a trained model at an address of this machine alone: a page to try it, and `/predict`.

    It goes on until Ctrl-C. With `background`, as in a notebook, it returns the server at once, which has `.address`,
    `.stop()`, and ends with the block of a `with`. `port` 0 takes a free one, `most_mb` is the largest input in
    megabytes, and `tell` is given the address once it listens.

    Raises:
        ModelError: there is no such model, or packages are missing.
        RecipeError: the port is taken.
    """
    require_extra("serve", "hftransfer serve")
    _require_fitting(precision, most_mb)
    from hftransfer.predictors.load import load

    if isinstance(model, str | os.PathLike):
        chosen = at_newest(model)
        predictor, name = load(chosen, precision=precision, base=base), _name_of(chosen)
    else:
        predictor, name = model, repr(model)
    from hftransfer.predictors.server import Limits, Server

    server = Server(predictor, name, port, Limits(most_bytes=int(most_mb * 1e6)))
    if background:
        server.start()
        return server
    tell(server.address)
    server.run()
    return None


def _require_fitting(precision: str, most_mb: float) -> None:
    if precision not in ("auto", "fp32", "bf16"):
        raise RecipeError(must_be("--precision", "auto, fp32 or bf16", f"'{precision}'"))
    if not 0.01 <= most_mb <= 1000:
        raise RecipeError(must_be("--most-mb", "from 0.01 to 1000", f"{most_mb:g}"))


def _name_of(model: str) -> str:
    return Path(model).resolve().name if Path(model).exists() else model
