"""Fixtures of the tests of training."""

from __future__ import annotations

from tests.training.killing import recipe as recipe
