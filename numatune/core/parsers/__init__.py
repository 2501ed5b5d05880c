"""Text to values: one small file per kind of source; a parser never sees a path or a connection."""
