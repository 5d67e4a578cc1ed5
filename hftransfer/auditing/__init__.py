"""What is wrong with a data set: files, duplicates and leaks, labels, rows unlike all others."""
