"""Many hosts at once: which they are, and what became of each, as it comes."""
