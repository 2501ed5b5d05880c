"""What ssh_config says of a host, as `ssh -G` would: `resolve` makes an Endpoint of a word and the user's files."""

from .keywords import SshConfigError
from .resolve import resolve

__all__ = ["SshConfigError", "resolve"]
