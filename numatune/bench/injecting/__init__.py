"""Disturbances made on purpose, by processes of their own."""
