"""What is odd about a single text, and about its language beside the others'."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_LEAST_LETTERS, _LEAST_TOLD, _SURE, _MOST_COMMON = 3, 80, 0.99, 0.8
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]{0,80}>|&(?:[a-z]{2,8}|#\d{2,6});")
_ALLOWED_CONTROLS = "\t\n\r"


def odd_about_text(text: str) -> list[str]:
    """A sentence for everything that is odd about a text."""
    from ftfy import badness

    told = []
    letters = sum(sign.isalnum() for sign in text)
    if letters < _LEAST_LETTERS:
        told.append("no words" if not letters else f"only {letters} letters or digits")
    if "\ufffd" in text or any(0xD800 <= ord(sign) <= 0xDFFF for sign in text):
        told.append("characters that were lost in another encoding")
    elif badness.is_bad(text):
        told.append("read in the wrong encoding, it seems (ftfy can mend that)")
    if any(unicodedata.category(sign) == "Cc" and sign not in _ALLOWED_CONTROLS for sign in text):
        told.append("control characters")
    if found := _MARKUP.search(text):
        told.append(f"markup such as {found.group()}")
    return told


def other_languages(texts: Sequence[str]) -> dict[int, str]:
    """The texts that are surely in another language than most, and which; short ones are not judged."""
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
