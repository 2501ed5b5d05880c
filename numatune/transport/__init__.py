"""How a snapshot is got: from this machine, or from a captured tree. Each way ends in a `core.model.Snapshot`."""
