"""What was there before, and the way back: the journal, the mark of a run, the recipe."""
