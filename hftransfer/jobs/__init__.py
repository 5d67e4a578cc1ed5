"""What each kind of run does, from a recipe to results."""
