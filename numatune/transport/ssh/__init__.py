"""The transport by paramiko and fabric: one connection, one channel and one exec for each host.

`collect` is all that others call, with a `Gateways` for each process where jump hosts are in play.
"""

from __future__ import annotations

from .collect import collect
from .gateways import Gateways

__all__ = ["Gateways", "collect"]
