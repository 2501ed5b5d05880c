"""What a host is: its shape, who serves on it, which services run and set the same knobs."""
