"""Metrics of language models: how likely they find held-out texts, and what the texts that they write are worth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from hftransfer.base.scripts import UNSPACED
from hftransfer.metrics.intervals import mean_interval, share_interval
from hftransfer.metrics.metric import Scores

_ONE = re.compile(f"[{UNSPACED}]")
_WORD, _SPACED = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+"), re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_DRAWS = 2000


def score_likelihood(losses: np.ndarray, tokens: np.ndarray, hits: np.ndarray, sizes: np.ndarray) -> Scores:
    """Return perplexity, bits per byte and token accuracy of documents, with 95 % intervals by drawing documents.

    Of each document (N,): the sum of its tokens' negative log probabilities in nats, how many tokens are judged, how
    many of them were the likeliest, and the bytes of the judged text in UTF-8. Perplexity depends on how a tokenizer
    cuts a text; bits per byte compare models of different ones (Gao et al., arXiv 2101.00027, section 3.1).
    """
    means = losses.sum() / tokens.sum()
    bits = losses.sum() / np.log(2) / sizes.sum()
    found: Scores = {
        "bits_per_byte": float(bits),
        "perplexity": float(np.exp(means)),
        "token_accuracy": float(hits.sum() / tokens.sum()),
        "tokens": int(tokens.sum()),
    }
    found["bits_per_byte_interval"] = ratio_interval(losses / np.log(2), sizes)
    low, high = ratio_interval(losses, tokens)
    return found | {"perplexity_interval": [float(np.exp(low)), float(np.exp(high))]}


def ratio_interval(above: np.ndarray, below: np.ndarray) -> list[float]:
    """Return the 95 % interval of a ratio of two sums over examples (N,): the percentile bootstrap of 2,000 draws."""
    if len(above) < 2:
        return [float(above.sum() / below.sum())] * 2
    random = np.random.default_rng(0)
    drawn = [random.integers(0, len(above), len(above)) for _ in range(_DRAWS)]
    ratios = [above[own].sum() / below[own].sum() for own in drawn]
    return [float(bound) for bound in np.percentile(ratios, [2.5, 97.5])]


def score_texts(written: Sequence[str], references: Sequence[Sequence[str]], stopped: Sequence[bool]) -> Scores:
    """Return what written texts are worth beside one or several right ones.

    BLEU and chrF are sacrebleu's, of the whole corpus, from 0 to 100; the rest are shares, and the length is that of
    all written texts in words over that of the references nearest to each. Of scripts without spaces between words
    each character counts as one, as in sacrebleu's tokenizer `zh`.
    """
    import sacrebleu

    exact = [
        float(text.strip() in {other.strip() for other in own}) for text, own in zip(written, references, strict=True)
    ]
    rouge = [max(rouge_l(text, other) for other in own) for text, own in zip(written, references, strict=True)]
    most = max(len(own) for own in references)
    # sacrebleu wants as many references of each: None stands for none.
    columns = [[own[at] if at < len(own) else None for own in references] for at in range(most)]
    apart = [[None if text is None else _apart(text) for text in texts] for texts in columns]
    # sacrebleu warns of texts that look tokenised already: they are judged as they are.
    bleu = sacrebleu.corpus_bleu([_apart(text) for text in written], cast(Any, apart), force=True)
    return {
        "written": len(written),
        "exact_match": float(np.mean(exact)),
        "rouge_l": float(np.mean(rouge)),
        "rouge_l_interval": mean_interval(rouge),
        "bleu": float(bleu.score),
        "chrf": float(sacrebleu.corpus_chrf(list(written), cast(Any, columns)).score),
        "stopped": float(np.mean(stopped)),
        "stopped_interval": share_interval(int(sum(stopped)), len(stopped)),
        "length_ratio": _length_ratio(written, references),
    }


def _apart(text: str) -> str:
    """Return a text with spaces around each character of a script that has none."""
    return _ONE.sub(r" \g<0> ", text)


def rouge_l(text: str, reference: str) -> float:
    """Return the F-measure in [0, 1] of the longest common subsequence of the words of two texts, in lower case (Lin
    2004, "ROUGE", section 3.1). As the package rouge-score without stemming, but words of all scripts count, and
    characters of those without spaces."""
    own, other = _WORD.findall(text.lower()), _WORD.findall(reference.lower())
    if not own or not other:
        return float(own == other)
    before = [0] * (len(other) + 1)
    for word in own:
        now = [0]
        for place, wanted in enumerate(other):
            now.append(before[place] + 1 if word == wanted else max(now[place], before[place + 1]))
        before = now
    return 2 * before[-1] / (len(own) + len(other))


def _length_ratio(written: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    own = [len(_SPACED.findall(text)) for text in written]
    # Of two that are as near, the shorter counts, as in BLEU.
    nearest = [
        min((abs(count - size), count) for count in (len(_SPACED.findall(other)) for other in others))[1]
        for size, others in zip(own, references, strict=True)
    ]
    return float(sum(own) / max(1, sum(nearest)))
