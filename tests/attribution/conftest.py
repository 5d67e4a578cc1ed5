"""Fixtures of the tests of explanations."""

from __future__ import annotations

from tests.predictors.builders import reviewed as reviewed
