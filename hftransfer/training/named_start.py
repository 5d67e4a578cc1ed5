"""A head that begins with the names of the classes: how good it was, what training made of it, and their mixture."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import nn

from hftransfer.data.splits import shown_split
from hftransfer.tasks.contract import Examples
from hftransfer.training.job import Job
from hftransfer.training.loop import predict
from hftransfer.training.solver import KnownHead
from hftransfer.training.sources import Sources


class ByNames:
    """How well a dual encoder's image tower goes with the names of classes, before training and after it: on the test
    split, or where there is none on validation. Nothing where the head began at random."""

    def __init__(self, job: Job, sources: Sources, examples: dict[str, Examples]) -> None:
        self.job, self.names = job, job.names
        self.split = shown_split(examples)
        self.source, self.labels = sources.others[self.split], examples[self.split].split.targets
        learning = job.adapter.model.named_parameters() if job.strategy.interpolate is not None else ()
        self.start = {name: p.detach().clone() for name, p in learning if p.requires_grad}
        self.found: dict[str, object] = {}
        if self.names is not None:
            self.found = {"split": self.split, "held_out_prompts": list(self.names.held_out_templates)}

    def look(self, when: str) -> None:
        """Note the accuracy of the head as it is, and that of the held-out templates."""
        if self.names is None:
            return
        own, held_out = np.split(self._logits_of_both(self.names.held_out), 2, axis=1)
        right = [float(np.mean(scores.argmax(axis=1) == self.labels)) for scores in (own, held_out)]
        found = dict(zip(("accuracy", "held_out_prompts_accuracy"), right, strict=True))
        self.found[when] = found
        words = {"before": "zero-shot", "learned": "as learned", "after": "in the end"}[when]
        told = f"{words}: {self.split} accuracy {found['accuracy']:.4f}"
        self.job.progress.line(f"{told}, by held-out prompts {found['held_out_prompts_accuracy']:.4f}")

    def mix(self, share: float) -> None:
        """Mix what learned with what it was, the learned weights having this share (WiSE-FT;
        Wortsman et al., arXiv 2109.01903). Of LoRA one factor of the product is scaled, which comes to the same."""
        with torch.no_grad():
            for name, parameter in self.job.adapter.model.named_parameters():
                if name in self.start and ".lora_A." not in name:
                    began = self.start[name].to(parameter.device)
                    parameter.copy_(began + share * (parameter - began))

    @torch.no_grad()
    def _logits_of_both(self, other: KnownHead) -> np.ndarray:
        """Return the logits (N, 2C) of the head as it is, and of another, in one pass."""
        head = cast(nn.Linear, self.job.adapter.head)
        own = head.weight, head.bias
        try:
            for name, mine, theirs in zip(("weight", "bias"), own, other, strict=True):
                both = torch.cat([mine, torch.from_numpy(theirs).to(mine)])
                setattr(head, name, nn.Parameter(both, requires_grad=False))
            return np.stack(predict(self.job.adapter, self.source, self.job.compute))
        finally:
            head.weight, head.bias = own
