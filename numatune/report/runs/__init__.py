"""What recorded runs, watches and comparisons say to a person: figures, spikes, causes; as text and as objects."""
