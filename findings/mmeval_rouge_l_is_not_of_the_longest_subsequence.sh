#!/usr/bin/env bash
# mmeval 0.2.1 with rouge-score 0.1.2, 2026-11-30: ROUGE-L of a text with one word put before it is 0 instead of 0.998.
#
# Guess: ROUGE(rouge_keys="L") is the F-measure of the longest common subsequence of words, as Lin's ROUGE-L. Seen: it
# adds up the matching blocks of difflib.SequenceMatcher, which looks for the longest unbroken run, then left and right
# of it. A run of two words in the wrong place hides five single ones in the right place: the score falls as soon as
# words are interspersed. And from 200 words on, difflib leaves out each word that makes up more than one in a hundred:
# of long texts of everyday words nothing is left, and a copy but for its first word scores 0.
# (metrics/rouge.py, _rougeL_score)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  mmeval==0.2.1 rouge-score==0.1.2 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from mmeval import ROUGE
from rouge_score.rouge_scorer import RougeScorer


def by_hand(one, two):
    """F-measure of the longest common subsequence."""
    one, two = one.split(), two.split()
    table = np.zeros((len(one) + 1, len(two) + 1), int)
    for i, a in enumerate(one, 1):
        for j, b in enumerate(two, 1):
            table[i, j] = table[i - 1, j - 1] + 1 if a == b else max(table[i - 1, j], table[i, j - 1])
    return 2 * table[-1, -1] / (len(one) + len(two))


def scores(prediction, reference):
    own = ROUGE(rouge_keys="L", tokenizer=str.split)([prediction], [[reference]])["rougeL_fmeasure"]
    google = RougeScorer(["rougeL"]).score(reference, prediction)["rougeL"].fmeasure
    assert abs(google - by_hand(prediction, reference)) < 1e-9, "the oracle"
    return own, google


draw = np.random.default_rng(0)
short = scores("p q one a two b three c four d five", "one two three four five p q")
print("short: mmeval {:.4f}, longest common subsequence {:.4f}".format(*short))
assert abs(short[0] - 2 * 2 / 18) < 1e-9 and abs(short[1] - 2 * 5 / 18) < 1e-9, "this has changed"

texts = [" ".join(draw.choice([f"w{word}" for word in range(8)], 12)) for _ in range(200)]
pairs = np.array([scores(one, two) for one, two in zip(texts[::2], texts[1::2])])
print("pairs of 12 words: mmeval {:.4f}, longest common subsequence {:.4f}".format(*pairs.mean(0)),
      f"lower in {(pairs[:, 0] < pairs[:, 1] - 1e-9).sum()} of {len(pairs)}")
assert (pairs[:, 0] <= pairs[:, 1] + 1e-9).all() and pairs.mean(0)[1] - pairs.mean(0)[0] > 0.02, "this has changed"

for length, seen in ((190, 380 / 381), (300, 0)):
    text = " ".join(f"w{word * 7 % 30}" for word in range(length))
    long = scores("so " + text, text)
    print(f"a copy of {length} words after one more:", "mmeval {:.4f}, longest common subsequence {:.4f}".format(*long))
    assert abs(long[1] - 2 * length / (2 * length + 1)) < 1e-9, "the oracle"
    assert abs(long[0] - seen) < 1e-9, "this has changed"
PY
echo "still so"
