"""What happens to engines, in the past tense."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineStarted:
    """An engine's process answers. `after_s`: seconds from its start to its first answer."""

    engine: str
    pid: int
    port: int
    after_s: float


@dataclass(frozen=True, slots=True)
class EngineExited:
    """An engine's process ended without being asked to, or did not answer in time and was ended for it.

    code, signal: one of them is set, as the process ended.
    restart_in_s: seconds until it is started again.
    last_stderr_line: the last line that it wrote, which mostly says why; None where it wrote nothing.
    """

    engine: str
    pid: int
    code: int | None
    signal: int | None
    restart_in_s: float
    last_stderr_line: str | None


EngineEvent = EngineStarted | EngineExited
