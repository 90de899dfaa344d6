"""What Spikeport adds to a netx file, so that it reads back as the same network.

netx itself does not look at it.
"""

from __future__ import annotations

KEY = "spikeport"
