"""What runs on a CPU beside its thread."""
