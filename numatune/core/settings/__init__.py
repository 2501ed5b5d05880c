"""One file per cause of jitter: what to read, how to judge it, what to change."""
