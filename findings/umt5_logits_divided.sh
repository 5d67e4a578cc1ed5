#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1, beside transformers 4.57.6, 2026-11-30: UMT5 has other logits.
#
# Guess: a checkpoint has the same logits in a newer transformers, as T5's and mT5's have. Seen: UMT5 is published with
# a head of its own (tie_word_embeddings false), and such models don't scale what goes into it. The new configuration
# sets tie_word_embeddings to true, whatever the file says. The weights of the head are read as they are, and what goes
# into it is divided by the square root of d_model, as for a tied one. With umt5-small's 512 all logits are a 23rd:
# probabilities are nearly even, sampling is noise, beam search and scores are others, and a training starts with
# another loss. T5 got a flag of its own for it, UMT5 didn't. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 torch==2.14.1 numpy==2.4.6 requests==2.34.2
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --target "$folder/old" \
  transformers==4.57.6 huggingface-hub==0.36.0 tokenizers==0.22.1
cd "$folder"
cat > compare.py <<'PY'
import torch
import transformers as tr

tr.logging.set_verbosity_error()
words = torch.arange(4, 12)[None]
sizes = {"vocab_size": 64, "d_model": 64, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 4}
family = {"T5": (tr.T5ForConditionalGeneration, tr.T5Config), "MT5": (tr.MT5ForConditionalGeneration, tr.MT5Config),
          "UMT5": (tr.UMT5ForConditionalGeneration, tr.UMT5Config)}  # fmt: skip
old = tr.__version__.startswith("4.")
for name, (model, config) in family.items():
    if old:
        # A head of its own, as T5 1.1, Flan-T5, mT5 and UMT5 are published.
        torch.manual_seed(0)
        untied = config(**sizes, tie_word_embeddings=False, feed_forward_proj="gated-gelu", decoder_start_token_id=0)
        model(untied).save_pretrained(name)
    loaded = model.from_pretrained(name).eval()
    with torch.no_grad():
        told = loaded(input_ids=words, decoder_input_ids=words, labels=words, output_hidden_states=True)
        by_hand = loaded.lm_head(told.decoder_hidden_states[-1])
    kept = {"logits": told.logits, "by hand": by_hand, "head": loaded.lm_head.weight.detach()}
    if old:
        torch.save(kept, f"{name}.pt")
        assert torch.allclose(told.logits, by_hand, atol=1e-5), "this has changed: transformers 4"
        continue
    before = torch.load(f"{name}.pt")
    assert torch.equal(before["head"], kept["head"]), "this has changed: the head"
    assert torch.allclose(before["by hand"], by_hand, atol=1e-4), "this has changed: by hand"
    ratio = float(before["logits"].abs().sum() / told.logits.abs().sum())
    losses = [float(torch.nn.functional.cross_entropy(part[0], words[0])) for part in (before["logits"], told.logits)]
    print(f"{name}: logits are 1 / {ratio:.2f} of those by hand; loss {losses[1]:.2f}, by version 4 {losses[0]:.2f}")
    assert abs(ratio - (8 if name == "UMT5" else 1)) < 1e-3, "this has changed"
    loaded.save_pretrained("again")
    again = tr.AutoConfig.from_pretrained("again").tie_word_embeddings
    assert again is True, "this has changed: what is saved"
PY
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
PYTHONPATH=old "$folder/venv/bin/python" -W ignore compare.py 2> /dev/null
"$folder/venv/bin/python" -W ignore compare.py 2> /dev/null
echo "still so"
