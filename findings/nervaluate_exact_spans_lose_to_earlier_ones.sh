#!/usr/bin/env bash
# nervaluate 1.2.1, 2026-11-30: one wrong span in front of two right ones brings the strict F1 from 0.8 to 0.
#
# Guess: in the strict schema a predicted span is correct if a true one has its label and its two ends, so that the
# number of correct spans is that of the intersection of both sets, in whatever order the spans come.
# Seen: strategies.py goes through the predictions as they come, and each takes the first true span that it touches,
# although a later one is equal to that. With nested or overlapping spans (loader="dict", as span classifiers give
# them) that goes on: the robbed span robs the next. "exact" and "partial" do the same. The same three spans with the
# wrong one last have 2 correct. So each F1 depends on the order of the spans; nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check nervaluate==1.2.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import itertools
import random

from nervaluate import Evaluator


def f1(correct, predicted, true):
    return 2 * correct / (predicted + true)


def ask(true, predicted):
    texts = [[dict(zip(("label", "start", "end"), span)) for span in spans] for spans in (true, predicted)]
    result = Evaluator([texts[0]], [texts[1]], tags=["ORG", "LOC", "PER"], loader="dict").evaluate()["overall"]
    return {schema: round(result[schema].f1, 3) for schema in ("strict", "exact", "partial")}


# "University of New York": an organisation, in it a place. The model also calls the first word a person.
true = [("ORG", 0, 3), ("LOC", 2, 3)]
first = ask(true, [("PER", 0, 0), *true])
last = ask(true, [*true, ("PER", 0, 0)])
hand = f1(len(set(true)), 3, 2)
print(f"by hand: {hand}; the wrong one last: {last}; first: {first}")
assert hand == last["strict"] == last["exact"] == 0.8, "this has changed: the wrong one last"
assert first["strict"] == first["exact"] == 0, "this has changed: the wrong one first"
assert len({ask(true, order)["strict"] for order in itertools.permutations([("PER", 0, 0), *true])}) > 1

# A hundred texts of nested spans, sorted by their start as most programs give them.
draw = random.Random(0)
correct = predicted = whole = 0
texts = [[], []]
for _ in range(100):
    spans = {(draw.choice(["ORG", "LOC", "PER"]), start, start + draw.randrange(4)) for start in range(0, 20, 2)}
    other = {(draw.choice(["ORG", "LOC", "PER"]), start, start + draw.randrange(2)) for start in range(0, 20, 4)}
    guessed = {span for span in spans if draw.random() < 0.8} | other
    correct, predicted, whole = correct + len(spans & guessed), predicted + len(guessed), whole + len(spans)
    for text, part in zip(texts, (spans, guessed)):
        part = sorted(part, key=lambda span: span[1:])
        text.append([{"label": label, "start": start, "end": end} for label, start, end in part])
seen = Evaluator(*texts, tags=["ORG", "LOC", "PER"], loader="dict").evaluate()["overall"]["strict"]
print(f"a hundred texts, strict F1: by hand {f1(correct, predicted, whole):.3f} ({correct} correct), nervaluate"
      f" {seen.f1:.3f} ({seen.correct} correct)")
assert seen.f1 < 0.9 * f1(correct, predicted, whole), "this has changed: a hundred texts"
PY
echo "still so"
