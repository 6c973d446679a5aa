"""The two clocks. Decisions take `now` as an argument; only the edges read these."""

from __future__ import annotations

import time

#: Seconds since the machine booted, for durations and deadlines. The same in every process of one host.
monotonic_s = time.monotonic

#: Seconds since 1970 (UTC), for what people read and for what must survive a reboot.
wall_s = time.time
