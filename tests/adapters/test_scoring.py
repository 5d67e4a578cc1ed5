"""Scores from logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from hftransfer.adapters.scoring import scores_of


def test_scores_of_several_labels_are_told_apart_near_one() -> None:
    logits = torch.tensor([[18.0, 18.5, 25.0]])
    scores = scores_of(logits, "sigmoid").numpy()
    assert scores == pytest.approx(expit(logits.double().numpy()), abs=1e-16)
    assert (np.diff(scores) > 0).all()  # in float32 all of them are 1
