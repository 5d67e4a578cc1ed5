"""What can be installed beside the package, and how a person is told that it is missing."""

from __future__ import annotations

from importlib.util import find_spec

from hftransfer.base.errors import ModelError, must_be

EXTRAS = {
    "audit": ("cleanlab", "imagehash", "ftfy", "py3langid"),
    "explain": ("pytorch_grad_cam",),
    "keras": ("keras", "h5py"),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "serve": ("fastapi", "uvicorn"),
    "suggest": ("sklearn",),
}


def has_package(name: str) -> bool:
    """Return whether a package can be imported."""
    return find_spec(name) is not None


def has_extra(name: str) -> bool:
    """Return whether the packages of an extra are installed."""
    return all(find_spec(package) is not None for package in EXTRAS[name])


def require_extra(name: str, what: str) -> None:
    """Return if the packages of an extra are installed.

    Raises:
        ModelError: some are not; `what` says what needs them.
    """
    missing = [package for package in EXTRAS[name] if find_spec(package) is None]
    if missing:
        remedy = f"Install them: pip install 'hftransfer[{name}]'."
        raise ModelError(must_be(f"the packages for {what}", "installed", f"no {', '.join(missing)}", remedy))
