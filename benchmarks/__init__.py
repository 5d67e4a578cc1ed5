"""Side by side with others: what each takes for the same work. `python -m benchmarks` lists them."""
