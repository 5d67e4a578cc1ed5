#!/usr/bin/env bash
# rank_bm25 0.2.2 with numpy 2.4.6, beside bm25s 0.3.16, 2026-12-01: a word of nine in ten documents weighs three
# times as much as one of four in ten; and in a small collection the one document without the words can come first.
#
# Guess: BM25Okapi gives a word the less weight the more documents have it, and its docstring's "floor on the idf
# values to eps * average_idf" keeps the weights of very common words small, so that none is negative. Seen: only
# words in more than half of the documents are set to eps * average_idf, not the others below it. The average is that
# of all words, most of which are rare; a quarter of it (1.4 for 1000 documents) is far above the weight of words in a
# third or in 45 % of the documents. With "the bank" documents about a bank without "the" come after those with "the"
# alone. A word in exactly half of them weighs nothing. Where most words are in more than half of the documents (a few
# similar ones: forms, product names) the average, so the floor, is negative, and a document that has the words asked
# for stands below one without any. bm25s orders them as one expects, with each of its methods tried here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  rank-bm25==0.2.2 bm25s==0.3.16 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import bm25s
import numpy as np
from rank_bm25 import BM25Okapi


def orders(documents, query):
    """Scores of rank_bm25, and those of bm25s by method."""
    own = BM25Okapi(documents)
    others = {}
    for method in ("lucene", "atire", "bm25+"):
        index = bm25s.BM25(method=method)
        index.index(documents, show_progress=False)
        others[method] = index.get_scores(query)
    return own, own.get_scores(query), others


# 1000 documents of 20 words, of which "the" is in nine of ten and "bank" in four of ten.
random = np.random.default_rng(0)
documents = []
for number in range(1000):
    common = (["the"] if number % 10 else []) + (["bank"] if number % 5 < 2 else [])
    documents.append(common + [f"w{each}" for each in random.integers(5000, size=20 - len(common))])
own, scores, others = orders(documents, ["the", "bank"])
has = {word: np.array([word in each for each in documents]) for word in ("the", "bank")}
only = {"the": has["the"] & ~has["bank"], "bank": has["bank"] & ~has["the"]}
for word in ("the", "bank"):
    print(f"{word!r} is in {has[word].mean():.0%} of the documents; its weight {own.idf[word]:.2f}, mean score of",
          f"those with it alone {scores[only[word]].mean():.2f}; bm25s",
          {name: round(float(each[only[word]].mean()), 2) for name, each in others.items()})
assert own.idf["the"] > 3 * own.idf["bank"] and own.epsilon * own.average_idf > 1.3, "this has changed"
assert scores[only["the"]].min() > scores[only["bank"]].max(), "this has changed"
for each in others.values():
    assert each[only["the"]].max() < each[only["bank"]].min(), "the oracle"

# A handful of product names.
names = ["cotton shirt long sleeves red", "cotton shirt long sleeves blue", "cotton shirt long sleeves red", "wool hat"]
documents = [name.split() for name in names]
for query in ("cotton shirt", "red"):
    own, scores, others = orders(documents, query.split())
    print(f"{query!r}: rank_bm25", scores.round(3).tolist(), "bm25s", others["lucene"].round(3).tolist(),
          "the first:", names[int(scores.argmax())])
    assert all(each.argmax() == 0 and each[3] == 0 for each in (others["lucene"], others["atire"])), "the oracle"
    if query == "red":
        assert not scores.any(), "this has changed: a word of half of the documents"
    else:
        assert own.get_top_n(query.split(), names, 1) == ["wool hat"] and scores[0] < 0, "this has changed"
PY
echo "still so"
