"""What the kernel counted over an iteration and over a run, in tiers by what reading it costs."""
