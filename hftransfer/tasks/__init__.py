"""What rows mean: columns, what the task needs of an adapter, and how predictions are scored."""
