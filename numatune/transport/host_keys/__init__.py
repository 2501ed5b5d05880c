"""known_hosts as OpenSSH reads it: lines, patterns of names, and files that others write too."""
