"""A side in its own process: `python -m benchmarks.side MODULE:FUNCTION SETTINGS` prints what the function returns."""

from __future__ import annotations

import json
import sys
from importlib import import_module


def main() -> None:
    """Nothing; the last line printed is a JSON object."""
    place, settings = sys.argv[1:]
    module, _, name = place.partition(":")
    print("\n" + json.dumps(getattr(import_module(module), name)(json.loads(settings))))


if __name__ == "__main__":
    main()
