"""From a checkpoint to its image processor or tokenizer. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hftransfer.adapters.checkpoint import Checkpoint, object_in
from hftransfer.adapters.sizes import require_small_images
from hftransfer.adapters.vocabulary import require_tokenizer_files, require_words
from hftransfer.base.errors import ModelError, first_line, must_be

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedTokenizerBase


def load_image_processor(checkpoint: Checkpoint) -> BaseImageProcessor:
    """Return the image processor beside a checkpoint.

    Raises:
        ModelError: there is none.
    """
    from transformers import AutoImageProcessor

    for file in ("preprocessor_config.json", "processor_config.json"):
        require_small_images(checkpoint.name, object_in(checkpoint.folder / file))
    require_small_images(checkpoint.name, checkpoint.config.get("pretrained_cfg"))
    try:
        return AutoImageProcessor.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RecursionError) as error:
        remedy = "Add the preprocessor_config.json of the pretrained model."
        raise ModelError(
            must_be(f"model '{checkpoint.name}'", "one with an image processor", "none", remedy)
        ) from error


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """Return the tokenizer beside a checkpoint.

    Raises:
        ModelError: there is none, or one that knows no words.
    """
    from transformers import AutoTokenizer

    require_tokenizer_files(checkpoint)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
    except Exception as error:  # whatever tokenizers come upon in a damaged file
        remedy = "Add the tokenizer.json of the pretrained model."
        got = f"none ({first_line(error)})"
        raise ModelError(must_be(f"model '{checkpoint.name}'", "one with a tokenizer", got, remedy)) from error
    require_words(checkpoint, tokenizer)
    return tokenizer
