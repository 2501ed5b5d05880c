"""The judge: pure functions on text and values, no I/O, Python 3.9, standard library only."""
