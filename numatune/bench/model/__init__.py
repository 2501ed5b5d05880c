"""The pinned ResNet: its graph, its weights, the engine that runs it, and what it can reach at most."""
