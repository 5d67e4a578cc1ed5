"""Python's collector of cyclic garbage during a command."""

from __future__ import annotations

import gc
import subprocess
import sys

from hftransfer.base.collection import as_usual


def test_a_command_collects_seldom_until_its_model_is_loaded() -> None:
    # In a process of its own: what is frozen stays so.
    code = (
        "import gc; from hftransfer.base.collection import as_usual, rarely_collected\n"
        "before = gc.get_threshold()\n"
        "with rarely_collected():\n"
        "    assert gc.get_threshold() > before and gc.isenabled() and gc.get_freeze_count() == 0\n"
        "    as_usual()\n"
        "    assert gc.get_threshold() == before and gc.get_freeze_count() > 1000\n"
        "    as_usual()\n"
        "assert gc.get_threshold() == before\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_outside_of_a_command_nothing_is_changed() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    as_usual()
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_a_command_that_fails_collects_as_before() -> None:
    code = (
        "import gc; from hftransfer.base.collection import rarely_collected\n"
        "before = gc.get_threshold()\n"
        "try:\n"
        "    with rarely_collected():\n"
        "        raise SystemExit(2)\n"
        "except SystemExit:\n"
        "    assert gc.get_threshold() == before\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
