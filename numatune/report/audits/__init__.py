"""Audits and plans: one file per format. A format gets judged hosts and gives text; it reads and prints nothing."""
