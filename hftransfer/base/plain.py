"""Values as JSON has them, and as people read them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pydantic import BaseModel

JsonObject: TypeAlias = dict[str, Any]
"""An object of JSON by its names: configurations, settings, metrics; who reads it knows what lies under which name."""


def changed(settings: BaseModel, names: Iterable[str]) -> JsonObject:
    """Return those of the settings of these names that are not the usual ones, with their values."""
    usual = type(settings).model_fields
    return {name: value for name in names if (value := getattr(settings, name)) != usual[name].default}


def shown_value(value: float, digits: int = 6) -> str:
    """Return a number of someone's data, such as a price, with so many digits and all that stand before the point."""
    whole = 10**digits <= abs(value) < 1e15
    return f"{value:.0f}" if whole else f"{value:.{digits}g}"


def shown_number(value: float) -> str:
    """Return a score as people read it: four places, of small numbers three digits, of large ones none behind the
    point."""
    size = abs(value)
    if size < 1e-8:
        return "0.0000"  # a loss of -1e-9 is none
    if size >= 1e9 or size < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if size >= 1e4 else f"{value:.4f}"
