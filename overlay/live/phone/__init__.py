"""Pages of our own that look like a phone's: drawn from a seed, every element with its name."""
