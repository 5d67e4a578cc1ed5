"""Rivals: their pins, and how each does the work. Nothing here imports hftransfer: other environments run it."""
