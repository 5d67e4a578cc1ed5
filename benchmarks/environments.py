"""Virtual environments of rivals, made when they are first needed, in benchmarks/.venv (which git ignores).

`rivals/NAME.txt` holds pins, a line each. Where the environment that runs this has them already it is taken as it is.
Else a new one lies over it, so that torch and the like are the same on both sides; or, where the file has the line
`# alone`, it holds all of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RIVALS = Path(__file__).resolve().parent / "rivals"
_ENVIRONMENTS = Path(__file__).resolve().parent / ".venv"
_MOST_SECONDS = 900


class CannotRun(Exception):
    """Something can't run here; the message is the reason."""


def python_of(name: str) -> str:
    """The Python of an environment with a rival's pins.

    Raises:
        CannotRun: pip can't install them.
    """
    text = (RIVALS / f"{name}.txt").read_text(encoding="utf-8")
    pins = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if all(_is_here(pin) for pin in pins):
        return sys.executable
    folder = _ENVIRONMENTS / name
    python, whole = folder / "bin" / "python", folder / "whole.txt"
    if not whole.is_file() or whole.read_text(encoding="utf-8") != text:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"  installing {' '.join(pins)} into {folder} …", file=sys.stderr, flush=True)
        _call([sys.executable, "-m", "venv", str(folder)])
        if "# alone" not in text.splitlines():
            paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
            over = Path(paths["purelib"]) / "over.pth"
            over.write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
        _call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins])
        whole.write_text(text, encoding="utf-8")
    return str(python)


def _is_here(pin: str) -> bool:
    name, _, wanted = pin.partition("==")
    try:
        return version(name) == wanted
    except PackageNotFoundError:
        return False


def _call(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_MOST_SECONDS)
    except subprocess.TimeoutExpired:
        raise CannotRun(f"pip took longer than {_MOST_SECONDS // 60} minutes") from None
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise CannotRun(f"pip can't install it: {told[-1] if told else 'no reason given'}")
