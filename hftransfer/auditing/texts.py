"""What is odd about a single text, and about its language beside the others'."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from hftransfer.base.errors import counted

_LEAST_LETTERS, _LEAST_TOLD, _SURE, _MOST_COMMON = 3, 80, 0.99, 0.8
_BEGINNING = 400
_TOGETHER = dict.fromkeys(("Cjk", "Hiragana", "Katakana"), "Chinese or Japanese")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]{0,80}>|&(?:[a-z]{2,8}|#\d{2,6});")
_ALLOWED_CONTROLS = "\t\n\r"


def odd_about_text(text: str) -> list[str]:
    """Return a sentence for everything that is odd about a text."""
    from ftfy import badness

    told = []
    letters = sum(sign.isalnum() for sign in text)
    if letters < _LEAST_LETTERS:
        told.append("no words" if not letters else f"only {counted(letters, 'letter')} or digits")
    if "\ufffd" in text or any(0xD800 <= ord(sign) <= 0xDFFF for sign in text):
        told.append("characters that were lost in another encoding")
    elif badness.is_bad(text):
        told.append("read in the wrong encoding, it seems (ftfy can mend that)")
    if any(unicodedata.category(sign) == "Cc" and sign not in _ALLOWED_CONTROLS for sign in text):
        told.append("control characters")
    if found := _MARKUP.search(text):
        told.append(f"markup such as {found.group()}")
    return told


def in_other_words(texts: Sequence[str]) -> dict[int, str]:
    """Return a sentence for each text that is in another script than most texts, or surely in another language."""
    told = {place: f"language than most (it seems: {name})" for place, name in _other_languages(texts).items()}
    told |= {place: f"script than most ({name})" for place, name in _other_scripts(texts).items()}
    return {place: f"in another {words}" for place, words in told.items()}


def _other_scripts(texts: Sequence[str]) -> dict[int, str]:
    """Return the texts most of whose letters are of another script than most texts are in, and which."""
    found = {place: script for place, text in enumerate(texts) if (script := _script(text))}
    if not found:
        return {}
    usual, count = Counter(found.values()).most_common(1)[0]
    if count < _MOST_COMMON * len(found):
        return {}
    return {place: script for place, script in found.items() if script != usual}


def _script(text: str) -> str | None:
    """Return the script of most letters in a text's beginning, by the first word of their Unicode names, as Latin or
    Cyrillic; none of too few letters."""
    letters = [sign for sign in text[:_BEGINNING] if sign.isalpha()]
    if len(letters) < _LEAST_LETTERS:
        return None
    names = [unicodedata.name(sign, "unknown").partition(" ")[0].capitalize() for sign in letters]
    name, count = Counter(_TOGETHER.get(name, name) for name in names).most_common(1)[0]
    return name if count > len(letters) / 2 else None


def _other_languages(texts: Sequence[str]) -> dict[int, str]:
    """Return the texts that are surely in another language than most, and which; short ones are not judged."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    judged = [place for place, text in enumerate(texts) if len(text) >= _LEAST_TOLD]
    if not judged:
        return {}
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    found = {place: identifier.classify(texts[place]) for place in judged}
    usual, count = Counter(language for language, _ in found.values()).most_common(1)[0]
    if count < _MOST_COMMON * len(judged):
        return {}  # several languages are no oddity here
    return {place: language for place, (language, share) in found.items() if language != usual and share >= _SURE}
