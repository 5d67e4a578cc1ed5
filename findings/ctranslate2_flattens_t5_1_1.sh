#!/usr/bin/env bash
# ctranslate2 4.8.5 with transformers 5.23.0 and torch 2.14.1, 2026-11-30: scores of T5 1.1 and Flan-T5 are flattened.
#
# Guess: a converted T5 gives each text the score that transformers gives it, as it does for the first T5. Seen: T5 1.1
# and Flan-T5, with tie_word_embeddings false in config.json, don't scale what goes into the head. transformers 5 keeps
# that as scale_decoder_outputs and sets tie_word_embeddings to true, which is what the converter asks. So it divides
# by the square root of d_model: all logits are a 23rd (d_model 512) and probabilities nearly even. Greedy texts stay
# the same, so that a look at them shows nothing. Scores, sampling, beam search and reranking by score are wrong.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  ctranslate2==4.8.5 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import shutil

import ctranslate2
import numpy as np
import tokenizers
import torch
import transformers as tr

tr.logging.set_verbosity_error()
tr.logging.disable_progress_bar()
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + [f"w{number}" for number in range(60)]
inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: place for place, word in enumerate(words)}, "[UNK]"))
inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[CLS]", "eos_token": "[SEP]"}
tokenizer = tr.PreTrainedTokenizerFast(tokenizer_object=inner, **special)
sizes = {
    "vocab_size": 64, "d_model": 64, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 4,
    "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 3,
}  # fmt: skip


def scores(tied: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    torch.manual_seed(0)
    config = tr.T5Config(**sizes, tie_word_embeddings=tied, feed_forward_proj="relu" if tied else "gated-gelu")
    model = tr.T5ForConditionalGeneration(config).eval()
    for folder in ("model", "converted"):
        shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained("model")
    tokenizer.save_pretrained("model")
    ctranslate2.converters.TransformersConverter("model").convert("converted")
    source, target = torch.randint(4, 64, (1, 7)), torch.randint(4, 64, (1, 6))
    given = torch.cat([torch.zeros(1, 1, dtype=torch.long), target], 1)
    with torch.no_grad():
        true = model(input_ids=source, decoder_input_ids=given, output_hidden_states=True)
        states = true.decoder_hidden_states[-1][0, :6]
        # By hand: the head on the last states, which the first T5 alone scales.
        by_hand = {scale: (states * scale) @ model.lm_head.weight.T for scale in (1, 64**-0.5)}
    texts = [[[words[word] for word in text[0]]] for text in (source, target)]
    told = np.array(ctranslate2.Translator("converted").score_batch(*texts)[0].log_probs[:6])
    every = true.logits[0, :6], by_hand[64**-0.5 if tied else 1], by_hand[64**-0.5]
    return told, *(part.log_softmax(-1)[range(6), target[0]].numpy() for part in every)


for name, tied in (("T5", True), ("T5 1.1, Flan-T5", False)):
    told, true, right, scaled = scores(tied)
    print(f"{name}: log probability {told.sum():.2f}, of transformers {true.sum():.2f}, by hand {right.sum():.2f}")
    assert np.allclose(true, right, atol=1e-3), "this has changed: transformers"
    assert np.allclose(told, scaled, atol=1e-3), "this has changed: the converted model"
    assert np.allclose(told, true, atol=1e-3) == tied, "this has changed"
PY
echo "still so"
