#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1, 2026-11-30: zero-shot with multi_label takes "neutral" for the contradiction.
#
# Guess: with multi_label=True each candidate's score is the softmax of entailment against contradiction, as documented,
# and both are found by their names in the model's label2id, as entailment is. Seen: the contradiction is taken by
# place: the first class, or the last one if the first is entailment. A model of the classes neutral, entailment and
# contradiction, in this order, or of entailment, contradiction and neutral, has entailment weighed against neutral. One
# candidate alone is scored so as well. A label that the model thinks contradicted can have 0.99. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> errors <<'PY'
import itertools
from pathlib import Path

import torch
import transformers as tr

words = "[PAD] [UNK] [CLS] [SEP] [MASK] this example is . about film music sport a good song".split()
Path("vocab.txt").write_text("\n".join(words))
tokenizer = tr.BertTokenizer("vocab.txt")
size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
text, candidates, template = "a good song", ["film", "music", "sport"], "this example is about {}."
# The same network each time: only the places of its three outputs change.
logits_of = {"entailment": 1.0, "neutral": -4.0, "contradiction": 4.0}

for order in itertools.permutations(logits_of):
    config = tr.BertConfig(vocab_size=len(words), **size, num_labels=3, initializer_range=0.3)
    config.id2label, config.label2id = dict(enumerate(order)), {name: place for place, name in enumerate(order)}
    torch.manual_seed(0)
    model = tr.BertForSequenceClassification(config).eval()
    rows = torch.randn(3, 16, generator=torch.Generator().manual_seed(1)) / 10
    places = [list(logits_of).index(name) for name in order]
    model.classifier.weight.data = rows[places]
    model.classifier.bias.data = torch.tensor(list(logits_of.values()))[places]
    pipeline = tr.pipeline("zero-shot-classification", model=model, tokenizer=tokenizer, device="cpu")
    told = pipeline(text, candidates, hypothesis_template=template, multi_label=True)
    own = dict(zip(told["labels"], told["scores"]))
    by_hand = {}
    for candidate in candidates:
        with torch.no_grad():
            logits = model(**tokenizer(text, template.format(candidate), return_tensors="pt")).logits[0]
        two = torch.stack([logits[config.label2id["entailment"]], logits[config.label2id["contradiction"]]])
        by_hand[candidate] = float(two.softmax(0)[0])
    gap = max(abs(own[name] - by_hand[name]) for name in candidates)
    print(", ".join(order), {name: (round(own[name], 3), round(by_hand[name], 3)) for name in candidates})
    right = (order[-1] if order[0] == "entailment" else order[0]) == "contradiction"
    assert right == (gap < 1e-4) and (right or gap > 0.5), "this has changed"
PY
echo "still so"
