"""What the way back of a translation must know of the way there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headgate.wire.translate.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Asked:
    """One translated request.

    fields: as the client wrote it. sent: as it went upstream. now_s: seconds since 1970, for dialects that date their
    answers where the upstream's does not.
    """

    fields: dict[str, Any]
    sent: dict[str, Any]
    upstream: Upstream
    now_s: int
