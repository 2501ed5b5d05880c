"""Which CPUs are interrupted by devices."""
