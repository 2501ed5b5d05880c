"""Where threads run and where memory lies: pinning, memory policies, a walk through a buffer."""
