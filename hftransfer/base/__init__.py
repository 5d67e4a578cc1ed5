"""What every room stands on: errors, progress, the cache, the run folder. Imports nothing of the house."""
