"""What a model looks at: maps over images, weights of words, and tests of whether they tell the truth."""
