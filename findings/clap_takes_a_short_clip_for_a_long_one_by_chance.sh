#!/usr/bin/env bash
# transformers 5.24.0 with torch 2.14.1, 2026-11-30: what CLAP says of a short sound changes from call to call.
#
# Guess: is_longer says which clips are longer than ten seconds; for these the model (enable_fusion, as in
# clap-htsat-fused) blends three cuts. Short clips have False and, in eval mode, one and the same embedding always.
# Seen: where no clip of a batch is longer, ClapFeatureExtractor draws one with NumPy's global generator and calls it
# longer (feature_extraction_clap.py). That one is blended, and its embedding is another: the cosine of both is 0.5 to
# 0.7 in a small random model. Alone a clip is always the one. So embeddings of a data set depend on chance and
# on neighbours. One long clip in the batch, or truncation="rand_trunc", prevents it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.24.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import torch
from transformers import ClapAudioConfig, ClapAudioModelWithProjection, ClapFeatureExtractor

torch.manual_seed(0)
config = ClapAudioConfig(
    enable_fusion=True, hidden_size=16, patch_embeds_hidden_size=8, depths=[1, 1], num_attention_heads=[1, 1],
    num_hidden_layers=2, projection_dim=8,
)
model = ClapAudioModelWithProjection(config).eval()
extractor = ClapFeatureExtractor()
draw = np.random.default_rng(0)
clips = [draw.normal(0, 0.1, 48_000 * seconds).astype("float32") for seconds in (2, 3, 4)]
long = draw.normal(0, 0.1, 48_000 * 12).astype("float32")


def embed(clips, **settings):
    inputs = extractor(clips, sampling_rate=48_000, return_tensors="pt", **settings)
    with torch.no_grad():
        embedded = torch.nn.functional.normalize(model(**inputs).audio_embeds, dim=1)
    return inputs["is_longer"].flatten().tolist(), embedded


np.random.seed(0)
calls = [embed(clips) for _ in range(12)]
print("is_longer of three short clips:", [longer for longer, _ in calls[:4]])
assert all(sum(longer) == 1 for longer, _ in calls), "this has changed: no short clip is called longer"
assert len({tuple(longer) for longer, _ in calls}) == 3, "this has changed: not by chance"
for place in range(3):
    kinds = {longer[place]: embedded[place] for longer, embedded in calls}
    cosine = float(kinds[True] @ kinds[False])
    alone = embed(clips[place : place + 1])
    print(f"clip {place}: cosine of its two embeddings {cosine:.3f}; alone it is_longer: {alone[0]}")
    assert cosine < 0.95 and alone[0] == [True], "this has changed"
    for longer, embedded in calls:
        assert torch.allclose(embedded[place], kinds[longer[place]], atol=1e-4)
        assert float(alone[1][0] @ kinds[True]) > 0.9999

# With one long clip, and with rand_trunc, short ones stay short.
for batch, settings in (([*clips, long], {}), (clips, {"truncation": "rand_trunc"})):
    inputs = [extractor(batch, sampling_rate=48_000, return_tensors="pt", **settings) for _ in range(4)]
    assert not any(each["is_longer"][:3].any() for each in inputs), "this has changed: a long clip"
PY
echo "still so"
