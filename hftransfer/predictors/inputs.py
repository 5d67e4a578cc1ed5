"""What people give a model in Python: one input or several, in any of their forms."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

from hftransfer.base.errors import DataError, must_be, some
from hftransfer.data.rows import Row, is_open_file

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from hftransfer.data.reading import Reader


OneImage: TypeAlias = "str | bytes | os.PathLike[str] | BinaryIO | Image.Image | np.ndarray"
"""An image: a path, bytes, an open file, PIL's, an array (H, W[, 3]) or (3, H, W)."""
OneInput: TypeAlias = "OneImage | tuple[str, str] | Row"
"""An image, a text, a pair of texts, or a row of splits."""


def require_no_images(texts: Sequence[object]) -> None:
    """Return if no text is the name of an image file: it would be judged by the letters of its name.

    Raises:
        DataError: some are; all of them are named.
    """
    from hftransfer.data.pictures import IMAGE_SUFFIXES

    named = [text for text in texts if isinstance(text, str) and Path(text[-9:]).suffix.lower() in IMAGE_SUFFIXES]
    found = [text for text in named if os.path.isfile(text)]  # noqa: PTH113 - false, too, of what can be no path
    if found:
        allowed = "a text, because this is a text model"
        raise DataError(*(must_be(f"the input '{text}'", allowed, "an image file") for text in found))


def decoded(image: object, position: int, pixels: tuple[float, float] | None = None) -> Image.Image | DataError:
    """Return an RGB image, or the error that says why there is none; `pixels` is the range of deep greyscale images."""
    if isinstance(image, DataError):
        return image
    from hftransfer.data.depth import PixelRange
    from hftransfer.data.images import decode_image
    from hftransfer.data.inspection import as_content

    where = str(image) if isinstance(image, str | os.PathLike) else f"image {position}"
    try:
        known = PixelRange(*pixels) if pixels is not None else None
        return decode_image(as_content(image, where).read(), where, pixels=known)
    except DataError as error:
        return error
    except OSError as error:
        return DataError(must_be(where, "a readable image file", error.strerror or str(error)))


def as_list(inputs: object, reader: Reader) -> list[object]:
    """Return the inputs one by one: one alone, or those of a list, a column, a series or whatever gives them in turn.

    Raises:
        DataError: it is a table, of whose columns one must be meant.
    """
    columns = getattr(inputs, "column_names", None) or getattr(inputs, "columns", None)
    if columns is not None and not isinstance(inputs, str | Mapping):
        names = [str(column) for column in columns]
        remedy = f"Pass one of its columns, as in frame['{names[0]}']." if names else ""
        raise DataError(
            must_be("the inputs", f"{reader.inputs}, or a column of them", f"a table ({some(names)})", remedy)
        )
    given = [inputs] if is_one(inputs, reader) else list(cast(Iterable[object], inputs))
    return [_of_row(one) if isinstance(one, Row) else one for one in given]


def is_one(inputs: object, reader: Reader) -> bool:
    """Return whether what is given is one input: a path, a text, a pair of texts as a tuple, a PIL image, an array (H,
    W[, 3]), an open file. Whatever gives several in turn is none, nor is an array (N, H, W, 3)."""
    if isinstance(inputs, str | bytes | bytearray | memoryview | os.PathLike | Mapping):
        return True
    if not isinstance(inputs, Iterable):
        return True
    if getattr(inputs, "ndim", None) == 0:  # an array of no dimension has an `__iter__` that fails
        return True
    if reader.fields:
        return isinstance(inputs, tuple) and len(inputs) == 2
    return hasattr(inputs, "convert") or is_open_file(inputs) or getattr(inputs, "ndim", 0) in (2, 3)


def _of_row(row: Row) -> object:
    """Return the input of a row, as a person would give it."""
    texts = row.content.texts
    if not texts:
        return row.content.path or row.content.read()
    return texts[0] if len(texts) == 1 else texts


def as_questions(
    inputs: object, question: str | Sequence[str] | None, context: str | Sequence[str] | None
) -> list[object]:
    """Questions as dicts; what is none of them is told one by one later."""
    if question is not None and context is not None and inputs is None:
        asked = [question] if isinstance(question, str) else list(question)
        contexts = [context] * len(asked) if isinstance(context, str) else list(context)
        if len(contexts) != len(asked):
            raise DataError(must_be("context", f"one text, or one for each of {len(asked)} questions", len(contexts)))
        return [{"question": one, "context": text} for one, text in zip(asked, contexts, strict=True)]
    if inputs is None or question is not None or context is not None:
        got = "a part of them" if question is not None or context is not None or inputs is not None else "none"
        raise DataError(must_be("the inputs", "question=… and context=…, or a list of dicts with both", got))
    if isinstance(inputs, str):
        raise DataError(must_be("the inputs", "a dict with the texts question and context", f"the text {inputs!r:.80}"))
    return [inputs] if isinstance(inputs, Mapping) else list(cast(Iterable[object], inputs))


def as_text(value: Any, position: int, pairs: bool | None) -> tuple[str, str | None] | DataError:
    """Return a text and its pair (None where there is none), or the error that says why it is none."""
    if isinstance(value, DataError):
        return value
    one = isinstance(value, str)
    two = isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(part, str) for part in value)
    if pairs is not None and (one or two) and pairs != two:
        allowed = (
            "a pair of texts, as in training (a tuple; on the command line --pair)"
            if pairs
            else "one text, as in training"
        )
        return DataError(must_be(f"text {position}", allowed, "one text" if one else "a pair"))
    if one or two:
        return (value, None) if one else (value[0], value[1])
    return DataError(must_be(f"text {position}", "a string or a pair of strings", type(value).__name__))
