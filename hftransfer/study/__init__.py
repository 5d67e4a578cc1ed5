"""Strategies, models, seeds and numbers of shots compared on the same data: which differences are real, and what they
cost."""
