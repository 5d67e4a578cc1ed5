"""Require that a text model's tokenizer came with it: transformers makes one of special tokens alone where there is
none, to which every word is unknown. Nothing here imports torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.base.errors import ModelError, must_be

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NAMES = ("tokenizer.json", "tekken.json", "dict.txt")
_SUFFIXES = (".model", ".spm", ".tiktoken", ".codes")
# Tokenizers that know every byte or character, without a file.
_OF_BYTES = ("ByT5", "Canine", "Perceiver")
# A vocabulary smaller than this part of the model's was not made for it; padded ones are larger by little.
_SHARE = 10


def require_tokenizer_files(checkpoint: Checkpoint) -> None:
    """Return if a text model's vocabulary lies beside it, as far as its files tell.

    Raises:
        ModelError: there is none, or one of special tokens alone, or one far smaller than the model's.
    """
    if checkpoint.is_open_clip or _is_of_bytes(checkpoint):
        return
    files = [file for file in checkpoint.folder.iterdir() if file.is_file() and _holds_words(file.name)]
    if not files:
        raise _without(checkpoint, "no file with a vocabulary (tokenizer.json, vocab.txt, …)")
    counted = [count for file in files if (count := _count_of(file)) is not None]
    if counted and len(counted) == len(files):  # what can't be counted here is when it is loaded
        _require_words(checkpoint, *max(counted))


def require_words(checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase) -> None:
    """Return if a tokenizer, as it was loaded, knows words.

    Raises:
        ModelError: it knows special tokens alone, or far fewer words than the model.
    """
    if type(tokenizer).__name__.startswith(_OF_BYTES):
        return
    _require_words(checkpoint, len(tokenizer), len(set(tokenizer.all_special_ids)))


def _require_words(checkpoint: Checkpoint, known: int, special: int) -> None:
    wanted = _vocabulary_size(checkpoint.config)
    if known <= special:
        raise _without(checkpoint, f"one with only {known} special tokens")
    if known * _SHARE < wanted:
        raise _without(checkpoint, f"one of {known:,} tokens, while the model knows {wanted:,}")


def _without(checkpoint: Checkpoint, got: str) -> ModelError:
    remedy = "Add the tokenizer.json of the pretrained model: every word would be unknown."
    return ModelError(must_be(f"model '{checkpoint.name}'", "one with a tokenizer of its own", got, remedy))


def _is_of_bytes(checkpoint: Checkpoint) -> bool:
    if checkpoint.family.capitalize().startswith(_OF_BYTES):
        return True
    settings = _json(checkpoint.folder / "tokenizer_config.json")
    return isinstance(settings, dict) and str(settings.get("tokenizer_class", "")).startswith(_OF_BYTES)


def _holds_words(name: str) -> bool:
    return name in _NAMES or name.startswith("vocab") or name.endswith(_SUFFIXES)


def _count_of(file: Path) -> tuple[int, int] | None:
    """Return how many tokens a file knows, and how many of them are special; None where that can't be told here."""
    if file.name == "tokenizer.json":
        return _count_of_tokenizer(_json(file))
    if file.name == "vocab.txt":
        try:
            words = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return None
        return len(words), sum(word.startswith(("[", "<")) and word.endswith(("]", ">")) for word in words)
    return None


def _count_of_tokenizer(content: object) -> tuple[int, int] | None:
    model = content.get("model") if isinstance(content, dict) else None
    words = model.get("vocab") if isinstance(model, dict) else None
    added = content.get("added_tokens") if isinstance(content, dict) else None
    if not isinstance(words, dict | list) or not isinstance(added, list | None):
        return None
    entries = [entry for entry in added or [] if isinstance(entry, dict)]
    # Unigram tokenizers list pairs of a piece and its score, others map pieces to numbers.
    known = {str(word[0]) if isinstance(word, list) and word else str(word) for word in words}
    special = {str(entry.get("content")) for entry in entries if entry.get("special")}
    return len(known | {str(entry.get("content")) for entry in entries}), len(special)


def _json(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _vocabulary_size(config: Mapping[str, object]) -> int:
    """Return how many tokens a model knows, as its configuration says; 0 where it says nothing."""
    inner = config.get("text_config")
    size = config.get("vocab_size", inner.get("vocab_size") if isinstance(inner, dict) else None)
    return size if isinstance(size, int) else 0
