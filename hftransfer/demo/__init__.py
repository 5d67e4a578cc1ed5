"""Gifts for a first run without a download: drawn cats and dogs."""
