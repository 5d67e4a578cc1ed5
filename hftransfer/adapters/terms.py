"""On which terms a pretrained model is had: repositories whose terms must be accepted first, and licences that allow no
commercial use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_DINOV3 = re.compile(r"facebook/dinov3-(vit|convnext-)([a-z0-9]+)-pretrain-(lvd1689m|sat493m)")
_VITS = {"s16": "small", "s16plus": "small_plus", "b16": "base", "l16": "large", "h16plus": "huge_plus", "7b16": "7b"}
# timm 1.0.31 gives these tags of its networks as cc-by-nc-4.0.
_OF_TIMM = re.compile(r"timm/[\w-]+\.(fcmae|mae|swag_|fb_ssl_|fb_swsl_|fb_wsl_|metaclip|in1k_ijepa|in22k_ijepa)")
_NON_COMMERCIAL = re.compile(r"(^|[-_ ])nc([-_ ]|$)|non-?commercial", re.IGNORECASE)
_MOST_READ = 1 << 16


def open_twin(name: str) -> str | None:
    """Return the Hub id under which timm has the same weights without terms to accept, where it is known."""
    match = _DINOV3.fullmatch(name)
    if match is None:
        return None
    kind, size, data = match.groups()
    if kind == "convnext-":
        return f"timm/convnext_{size}.dinov3_{data}"
    return f"timm/vit_{_VITS[size]}_patch16_dinov3.{data}" if size in _VITS else None


def license_of(name: str, folder: Path | None = None, config: Mapping[str, object] | None = None) -> str | None:
    """Return the licence of a pretrained model, as its model card or timm's settings say; None where none is known."""
    license = _license_of_card(folder / "README.md") if folder is not None else None
    settings = (config or {}).get("pretrained_cfg")
    if license is None and isinstance(settings, dict) and isinstance(settings.get("license"), str):
        license = settings["license"]
    return license or ("cc-by-nc-4.0" if _OF_TIMM.match(name) else None)


def is_non_commercial(name: str | None) -> bool:
    """Return whether a licence, by its name, allows no commercial use."""
    return name is not None and _NON_COMMERCIAL.search(name) is not None


def is_creative_commons(name: str | None) -> bool:
    """Return whether a licence is one of Creative Commons without commercial use: the Hub lists these by name."""
    return name is not None and re.fullmatch(r"cc-by-nc(-(sa|nd))?-\d\.\d", name) is not None


def _license_of_card(card: Path) -> str | None:
    """Return the licence in the metadata of a model card; of one that is none of the Hub's list, its own name."""
    try:
        with card.open(encoding="utf-8", errors="replace") as stream:
            text = stream.read(_MOST_READ)
    except OSError:
        return None
    # By patterns, and not as YAML: cards are written by hand, and many are no valid YAML.
    front = re.match(r"---\r?\n(.*?)\n---", text, re.DOTALL)
    named = re.findall(r"^(license|license_name):[ \t]*[\"']?([\w.+-]+)", front[1], re.MULTILINE) if front else []
    fields = dict(named)
    license = fields.get("license")
    return fields.get("license_name", license) if license == "other" else license


def note_on_license(name: str, license: str | None) -> str | None:
    """Return what a person should know of a licence; None where it allows what people usually do."""
    if not is_non_commercial(license):
        return None
    return f"the licence of {name}({license}) allows no commercial use, neither of it nor of models made from it"
