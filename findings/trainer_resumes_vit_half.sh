#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1, 2026-11-30: Trainer loads a part of a ViT's checkpoint.
#
# Guess: resume_from_checkpoint and load_best_model_at_end bring back the weights of the checkpoint. Seen: checkpoints of
# ViT, DeiT, Swin, Segformer and others are saved under older names, which from_pretrained translates. Trainer does not,
# and lets unknown names pass. The attention and MLP weights stay as they were: as at the start after a resume, as in the last
# epoch for the best model. Head and embeddings are loaded. A line of the log is all that tells. ConvNeXt is loaded whole.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 accelerate==1.15.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import torch
import transformers as tr

drawn = torch.Generator().manual_seed(0)
rows = [{"pixel_values": torch.randn(3, 32, 32, generator=drawn), "labels": torch.tensor(row % 3)} for row in range(24)]
others = [{**row, "labels": (row["labels"] + 1) % 3} for row in rows]
pixels = torch.stack([row["pixel_values"] for row in rows])
size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
vit = (tr.ViTForImageClassification, tr.ViTConfig(**size, image_size=32, num_labels=3))
conv = (tr.ConvNextForImageClassification, tr.ConvNextConfig(depths=[1] * 4, hidden_sizes=[8] * 4, num_labels=3))


def trainer(model: type, config: tr.PreTrainedConfig, folder: str, best: bool) -> tr.Trainer:
    torch.manual_seed(0)
    settings = tr.TrainingArguments(
        folder, per_device_train_batch_size=8, num_train_epochs=6, learning_rate=0.01, eval_strategy="epoch",
        save_strategy="epoch", load_best_model_at_end=best, report_to=[], use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    made = tr.Trainer(model(config), settings, train_dataset=rows, eval_dataset=others)
    made.remove_callback(tr.PrinterCallback)
    return made


for name, (model, config) in {"ConvNeXt": conv, "ViT": vit}.items():
    first, resumed = trainer(model, config, name, True), trainer(model, config, name, False)
    first.train()
    resumed.train(resume_from_checkpoint=f"{name}/checkpoint-18")
    paths = (first.state.best_model_checkpoint, f"{name}/checkpoint-18")
    for what, loaded, path in zip(("best", "resumed"), (first, resumed), paths):
        with torch.no_grad():
            saved = model.from_pretrained(path).eval()
            gap = float((loaded.model.eval()(pixels).logits - saved(pixels).logits).abs().max())
        other = [key for key, weight in saved.state_dict().items() if not torch.equal(weight, loaded.model.state_dict()[key])]
        print(f"{name}, {what} ({path}): logits differ by {gap:.1e}; {len(other)} of {len(saved.state_dict())} weights differ")
        assert (gap > 0.01) == (name == "ViT"), "this has changed"
PY
echo "still so"
