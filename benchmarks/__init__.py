"""Side by side with others, as ratios from one run; nothing here is a timed test."""
