"""The history of fleet runs on the controller: one SQLite file, one writer at a time, short transactions."""
