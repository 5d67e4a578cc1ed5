"""CLIP_benchmark's zero-shot evaluation over an image folder; nothing of ours is imported."""

import json
import sys
import time
from pathlib import Path

import open_clip
from clip_benchmark.metrics import zeroshot_classification
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

settings = json.loads(sys.argv[1])
began = time.perf_counter()
place = f"local-dir:{settings['model']}"
model, _, transform = open_clip.create_model_and_transforms(place, require_pretrained=True)
model.eval()
images = ImageFolder(str(Path(settings["data"]) / "test"), transform)
workers = min(4, settings["threads"])  # its command takes 4
loader = DataLoader(images, batch_size=settings["batch_size"], num_workers=workers)
scores = zeroshot_classification.evaluate(
    model,
    loader,
    open_clip.get_tokenizer(place),
    images.classes,
    ["a photo of a {c}."],
    "cpu",
    amp=False,
)
print("\n" + json.dumps({"seconds": time.perf_counter() - began, "accuracy": float(scores["acc1"])}))
