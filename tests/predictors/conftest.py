"""Fixtures of the tests of predictors."""

from __future__ import annotations

from tests.predictors.builders import reviewed as reviewed
