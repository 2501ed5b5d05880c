"""The transport by the `ssh` program: for Kerberos, certificates, ProxyCommand and whatever else ssh_config can say.

ssh reads the user's configuration itself. `collect` is all that others call.
"""

from __future__ import annotations

from .collect import collect

__all__ = ["collect"]
