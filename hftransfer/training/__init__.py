"""The engine: the frozen part once, then what learns above it."""
