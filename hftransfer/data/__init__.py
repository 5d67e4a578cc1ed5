"""Rows in: where examples come from, how they are split, and what is wrong with them."""
