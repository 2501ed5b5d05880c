"""A running service, watched from outside: its threads, the host around it, its own latency log."""
