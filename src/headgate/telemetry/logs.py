"""Log lines through structlog, written by a thread of their own.

A pipe whose reader has stopped must not stop the gateway. So lines are gathered for a moment, handed to a thread, and
written there; when more than `MAX_BACKLOG_BYTES` wait, further lines are dropped, and their number is said as soon as
there is room again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sys
import threading
from datetime import UTC, datetime
from typing import IO, Any, Literal, cast

import structlog

from headgate import clock

GATHER_S = 0.05
MAX_BACKLOG_BYTES = 16 * 1024 * 1024

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

Log = structlog.typing.FilteringBoundLogger


class LineWriter:
    """Looks like a structlog logger; takes finished lines.

    What waits is what was taken less what was written: two counters, each with one thread that writes it.
    """

    def __init__(self, stream: IO[Any]) -> None:
        self._fd = stream.fileno()
        self._gathered: list[bytes] = []
        self._scheduled = False
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._taken_bytes = 0
        self._written_bytes = 0
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_all, name="headgate-log", daemon=True)
        self._thread.start()

    def msg(self, line: bytes) -> None:
        """Takes one line, without its end. Returns at once."""
        if self._taken_bytes - self._written_bytes + len(line) > MAX_BACKLOG_BYTES:
            self._dropped += 1
            return
        self._gather(line)
        if self._scheduled:
            return
        try:
            asyncio.get_running_loop().call_later(GATHER_S, self.flush)
            self._scheduled = True
        except RuntimeError:  # no event loop: nothing that must not wait
            self.flush()

    debug = info = warning = error = critical = exception = log = msg

    def _gather(self, line: bytes) -> None:
        self._taken_bytes += len(line) + 1
        self._gathered.append(line)

    def flush(self) -> None:
        """Hands what was gathered to the thread."""
        self._scheduled = False
        if self._dropped and self._taken_bytes - self._written_bytes < MAX_BACKLOG_BYTES // 2:
            self._gather(b'{"level":"warning","event":"log lines dropped","lines":%d}' % self._dropped)
            self._dropped = 0
        if self._gathered:
            self._queue.put(b"\n".join(self._gathered) + b"\n")
            self._gathered.clear()

    def close(self, timeout_s: float = 2.0) -> None:
        """Writes what is left, if that can be done in time."""
        self.flush()
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _write_all(self) -> None:
        while (block := self._queue.get()) is not None:
            rest = memoryview(block)
            try:
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
            except OSError:
                pass  # nobody is there to read, and nothing better to tell it to
            self._written_bytes += len(block)


class Lines:
    """The line that is written for every request: through the same processors as structlog's, without its way there,
    which takes longer than they do."""

    def __init__(self, writer: LineWriter, processors: list[Any], level: str) -> None:
        self._writer = writer
        self._processors = processors
        self._least = _LEVELS[level]

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """One line, where the level is to be written at all. Takes `fields` over."""
        if _LEVELS[level] < self._least:
            return
        fields["event"] = event
        line: Any = fields
        for processor in self._processors:
            line = processor(None, level, line)
        self._writer.msg(line)


def set_up(
    format: Literal["auto", "json", "console"], level: str, stream: IO[Any] | None = None
) -> tuple[Log, Lines, LineWriter]:
    """The gateway's logger, its lines for requests, and the writer to close at the end. `auto`: console on a terminal,
    JSON elsewhere."""
    stream = sys.stderr if stream is None else stream
    writer = LineWriter(stream)
    console = format == "console" or (format == "auto" and stream.isatty())
    processors = _console(stream.isatty()) if console else _json()
    log = structlog.wrap_logger(
        cast(Any, writer),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    _take_over_stdlib(log)
    return cast(Log, log), Lines(writer, processors, level), writer


def _json() -> list[Any]:
    import orjson

    second, stamp = 0, ""

    def render(_: Any, level: str, event: dict[str, Any]) -> bytes:
        """One processor for what structlog does in four: a line is written for every request."""
        nonlocal second, stamp
        now = clock.wall_s()
        if int(now) != second:
            second = int(now)
            stamp = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        name = event.pop("event")
        if "exc_info" in event:
            event = dict(structlog.processors.format_exc_info(_, level, event))
        milliseconds = int(now * 1000) % 1000
        line = {"time": f"{stamp}.{milliseconds:03d}Z", "level": level, "event": name, **event}
        return orjson.dumps(line, default=str)

    return [render]


def _console(colors: bool) -> list[Any]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, pad_event_to=0, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
    )

    def render(log: Any, name: str, event: Any) -> bytes:
        text = renderer(log, name, event)
        return (text if isinstance(text, str) else bytes(text).decode()).encode("utf-8", "replace")

    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        render,
    ]


class _Forward(logging.Handler):
    """What libraries log with the standard library, as our own lines."""

    def __init__(self, log: Any) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("Cancel %s running task"):
            return  # each of these requests says so in its own line
        try:
            message = record.getMessage()
        except Exception:
            message = str(record.msg)
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        self._log.log(record.levelno, message, **fields)


def _take_over_stdlib(log: Any) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_Forward(log)]
    root.setLevel(logging.WARNING)
    # A client that does not speak HTTP is told so, and is no news.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
