"""The kit that settings are declared with: what one plane says, who keeps a value, what a boot starts with."""
