#!/usr/bin/env bash
# rouge 1.0.1 beside rouge-score 0.1.2, 2026-11-29: a word that is written again and again costs nothing.
#
# Guess: ROUGE counts words as often as they stand there, clipped to the reference (Lin 2004), so that an answer which
# stammers loses precision, in both packages. Seen: rouge takes the set of words. "good good good good" for "a good film"
# has a precision of 1.0 and an F1 of 0.50, where rouge-score has 0.25 and 0.29; ROUGE-L likewise. Small language models
# that get caught in a loop look better than they are. With exclusive=False it counts as defined.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check rouge==1.0.1 rouge-score==0.1.2
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
from rouge import Rouge
from rouge_score.rouge_scorer import RougeScorer

KINDS = {"rouge-1": "rouge1", "rouge-l": "rougeL"}
counted = RougeScorer(list(KINDS.values()))
for answer, reference, precision in (("good good good good", "a good film", 0.25), ("a film a film", "a film", 0.5)):
    by_sets, by_exclusive = (Rouge(exclusive=on).get_scores(answer, reference)[0] for on in (True, False))
    by_counts = counted.score(reference, answer)
    for kind, other in KINDS.items():
        own = by_sets[kind]
        print(f"'{answer}' for '{reference}', {kind}: rouge {own['p']:.2f}, F1 {own['f']:.2f} (exclusive=False "
              f"{by_exclusive[kind]['p']:.2f}); rouge-score {by_counts[other].precision:.2f}, F1 {by_counts[other].fmeasure:.2f}")
        assert abs(by_counts[other].precision - precision) < 1e-9
        assert own["p"] == 1.0, "this has changed: words count as often as they stand there"
PY
echo "still so"
