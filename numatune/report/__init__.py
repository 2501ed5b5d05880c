"""One file per format. A report gets judged hosts and returns text; it reads nothing and prints nothing."""
