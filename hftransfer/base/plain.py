"""Values as JSON has them."""

from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
"""An object of JSON by its names: configurations, settings, metrics; who reads it knows what lies under which name."""
