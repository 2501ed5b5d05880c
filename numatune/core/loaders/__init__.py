"""Boot loaders that kernel arguments can be written to: one interface, one file per way of keeping entries.

Whatever the loader, the proof is the same: `core.loaders.next_boot.next_boot` reads the entry that boots next.
"""
