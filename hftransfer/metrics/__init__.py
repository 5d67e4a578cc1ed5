"""Metrics as `evaluate.Metric` classes, computed locally: nothing is fetched at run time."""
