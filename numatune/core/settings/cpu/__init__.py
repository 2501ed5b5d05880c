"""What a CPU itself does slower."""
