#!/usr/bin/env bash
# baal 2.1.0 with numpy 2.4.6 and torch 2.14.1, 2026-12-01: given logits, Certainty asks last for the example of which
# the model knows nothing, and Entropy overlooks that the passes contradict each other.
#
# Guess: the heuristics take logits as well as probabilities (to_prob: "if the probabilities array is not a
# distribution will softmax it"), for what predict_on_dataset hands on are the model's outputs, mostly logits. So the
# ranks are the same for both. Seen: for BALD they are. Certainty compares the greatest logit as it is: three classes
# with the logits 5, 5, 5 (a third each) count as more certain than 2, -6, -6 (0.999). Entropy and Margin average the
# LOGITS of the stochastic passes and take the softmax of the mean, where for probabilities they average the
# probabilities: an example of which one pass is sure beyond measure, and the other not, ranks below an indifferent
# one. The choice of what is to be labelled depends on whether the model ends in a softmax; nothing is reported.
# (active/heuristics/heuristics.py: @singlepass before @requireprobs, and none for Certainty)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torch==2.14.1 torchmetrics==1.9.0 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 structlog==22.3.0 tqdm==4.70.1 \
  pillow==13.0.0 matplotlib==3.11.2
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps baal==2.1.0
cd "$folder"
HOME="$folder" MPLBACKEND=agg "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from baal.active.heuristics import BALD, Certainty, Entropy, Margin
from scipy.special import softmax
from scipy.stats import entropy

# Two examples, three classes, two passes that agree: of the first the model knows nothing, of the second all.
logits = np.repeat(np.array([[5.0, 5, 5], [2, -6, -6]])[:, :, None], 2, axis=2)
chances = softmax(logits, axis=1)
for name, given in (("logits", logits), ("probabilities", chances)):
    ranks, scores = Certainty().get_ranks(given.copy())
    print(f"Certainty of {name}: {scores.round(3)}, asks for example {ranks[0]} first")
assert chances.max(1)[0, 0] < 0.34 and chances.max(1)[1, 0] > 0.99, "by hand"
assert Certainty()(chances.copy())[0] == 0, "the oracle"
assert Certainty()(logits.copy())[0] == 1, "this has changed: Certainty"

# Two classes: of the first example one pass is sure, the other is not; of the second both lean a little.
logits = np.array([[[8.0, -2], [0, 0]], [[1, 1], [0, 0]]])
chances = softmax(logits, axis=1)
hand = entropy(chances.mean(2), axis=1)
found = {name: Entropy().get_ranks(given.copy()) for name, given in (("logits", logits), ("probabilities", chances))}
for name, (ranks, scores) in found.items():
    print(f"Entropy of {name}: {scores.round(3)}, asks for example {ranks[0]} first; by hand {hand.round(3)}")
assert np.allclose(found["probabilities"][1], hand) and found["probabilities"][0][0] == 0, "the oracle"
assert found["logits"][0][0] == 1 and found["logits"][1][0] < 0.5 * hand[0], "this has changed: Entropy"

# A pool of 500 examples as a network with dropout gives them: ten classes, twenty passes.
random = np.random.default_rng(0)
logits = 2 * random.normal(size=(500, 10, 1)) + random.normal(size=(500, 10, 20)) + 3 * random.normal(size=(500, 1, 1))
chances = softmax(logits, axis=1)
same = {}
for heuristic in (BALD, Entropy, Margin, Certainty):
    one, other = (heuristic()(given.copy())[:50] for given in (logits, chances))
    same[heuristic.__name__] = len(set(one) & set(other))
print("of the fifty asked for first of 500, the same ones for logits and for probabilities:", same)
assert same["BALD"] == 50, "the oracle"
assert same["Certainty"] < 30 and same["Entropy"] < 50, "this has changed"
PY
echo "still so"
