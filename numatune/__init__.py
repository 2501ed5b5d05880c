"""numatune finds, removes and proves the removal of latency jitter on CPU inference hosts."""

__version__ = "0.1.0"
