"""Networks, transforms and heads of a person's own in pickles: what Python can't pickle is told in words."""

from __future__ import annotations

import pickle
import sys

from hftransfer.base.errors import ModelError, first_line, must_be

_BY_VALUE = ("cloudpickle", "dill")
"""Libraries that pickle local classes and lambdas, too."""


class _Nowhere:
    """A file that keeps nothing: weights are not copied to find out whether they can be pickled."""

    def write(self, data: bytes) -> int:
        return len(data)


def require_picklable(what: str, part: object, given_as: str) -> None:
    """Return if Python can pickle a part of a model, or another library than Python's own does it; `given_as` is how
    the part is given to `ht.load`.

    Raises:
        ModelError: it can't.
    """
    if _is_pickled_by_value():
        return
    try:
        pickle.Pickler(_Nowhere()).dump(part)
    except Exception as error:  # a class of anybody's
        allowed = "picklable: define its classes and functions at the top level of a module"
        remedy = f"Or save the model with model.save(folder), and load it with ht.load(folder, {given_as})."
        raise ModelError(must_be(what, allowed, first_line(error), remedy)) from error


def _is_pickled_by_value() -> bool:
    """Return whether one of the libraries that pickle more than Python does is at work: an object is not told which."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if set(_BY_VALUE) & set(str(frame.f_globals.get("__name__")).split(".")):
            return True
    return False
