"""Values of YAML as people write them on a line, and as recipes hold them."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

_PLAIN_TYPES = (str, int, float, bool, type(None), list, dict)


def scalar(text: str) -> object:
    """Return the value of YAML 1.2 text as an override gives it: numbers, true / false, null, [lists], else the
    text."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    # Anchors, aliases and tags have no place in an override.
    if re.search(r"[&*!]", text):
        return text
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return text
    quoted = text.strip()[:1] in ("'", '"')
    # Unquoted text is taken as it stands: YAML would cut it at " #".
    plain = (isinstance(value, str) and not quoted) or not isinstance(value, _PLAIN_TYPES)
    return text if plain else plain_copy(value)


def plain_copy(value: object) -> Any:
    """Return a copy of a value whose keys are texts, as those of a recipe are."""
    if isinstance(value, Mapping):
        return {str(key): plain_copy(below) for key, below in value.items()}
    if isinstance(value, list):
        return [plain_copy(below) for below in value]
    return copy.deepcopy(value)
