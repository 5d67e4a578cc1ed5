#!/usr/bin/env bash
# nltk 3.10.4 beside sacrebleu 2.6.0, 2026-11-30: the corpus BLEU of translations equal to their references is 0.69.
#
# Guess: corpus_bleu adds up matching n-grams and all n-grams over the texts before it divides, as Papineni (2002) and
# sacrebleu do, so that a text equal to its reference takes nothing away. Seen: a text with fewer than n words, which
# has no n-grams, is counted as if it had one that is wrong. With one long sentence beside five answers of a word or
# two the score of perfect predictions is 0.69 by nltk and 1 by sacrebleu; captions, titles and short answers suffer
# most.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check nltk==3.10.4 sacrebleu==2.6.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
from collections import Counter
from math import exp, log

import sacrebleu
from nltk.translate.bleu_score import corpus_bleu

texts = ["the cat sat on the mat and slept", "yes", "no", "two dogs", "a horse", "good morning"]
words = [text.split() for text in texts]


def by_hand(predictions, references):
    """BLEU of one reference each, without a penalty, as all lengths are equal here."""
    logarithms = []
    for n in range(1, 5):
        right = total = 0
        for prediction, reference in zip(predictions, references, strict=True):
            both = (prediction, reference)
            counts, known = (Counter(tuple(t[i : i + n]) for i in range(len(t) - n + 1)) for t in both)
            right += sum((counts & known).values())
            total += sum(counts.values())
        logarithms.append(log(right / total))
    return exp(sum(logarithms) / 4)


own = corpus_bleu([[reference] for reference in words], words)
other = sacrebleu.BLEU(smooth_method="none", tokenize="none").corpus_score(texts, [texts]).score / 100
print(f"nltk: {own:.4f}, sacrebleu: {other:.4f}, by hand: {by_hand(words, words):.4f}")
assert abs(other - 1) < 1e-9 and abs(by_hand(words, words) - 1) < 1e-9, "this has changed"
# 14 of 14 words, but 10 of 12 pairs, 6 of 11 triples, and 5 of 10 fours.
assert abs(own - (10 / 12 * 6 / 11 * 5 / 10) ** 0.25) < 1e-9, "this has changed"
PY
echo "still so"
