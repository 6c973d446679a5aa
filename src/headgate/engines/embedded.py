"""The child process that is the embedded engine: `python -m headgate.engines.embedded --model F --port N`.

It runs the llama.cpp server of the `xllamacpp` wheel in a process of its own, since a native library that fails takes
its process with it. It must not outlive the gateway, not even one that was killed: the gateway holds the other end of
its standard input, and the end of that file is the end of this process.

Exit status: 0 when asked to go, `EXIT_FAILED` when it cannot start, `EXIT_PORT_TAKEN` when another process has the
port. One line on stderr says why.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

#: How this program's own lines on stderr begin; the others are llama.cpp's.
SPEAKER = "headgate embedded engine:"

EXIT_FAILED = 1
EXIT_PORT_TAKEN = 3

#: Output limit, in tokens, of a request that sets none. A model that never ends by itself would fill its context.
DEFAULT_OUTPUT_TOKENS = 256
DEFAULT_CONTEXT_TOKENS = 8192
DEFAULT_SLOTS = 4
#: A batch goes through the model at once: with embeddings, a whole input must fit.
BATCH_TOKENS = 2048
#: More threads than this help a small model little and take them from the gateway.
MOST_THREADS = 4


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=_leave_with_parent, name="parent-watch", daemon=True).start()
    if not Path(options.model).is_file():
        return _refuse(EXIT_FAILED, f"no model file at {options.model}")
    try:
        import xllamacpp
    except ImportError as error:
        # The wheel takes OpenMP's library from the system, and a small Debian does not have it.
        lacks_openmp = "libgomp" in str(error)
        fix = "install it (Debian: apt-get install libgomp1)" if lacks_openmp else "install headgate[local]"
        return _refuse(EXIT_FAILED, f"xllamacpp cannot be imported ({error}); {fix}")
    if not _is_free(options.host, options.port):
        return _refuse(EXIT_PORT_TAKEN, f"port {options.port} on {options.host} is taken")
    try:
        server = xllamacpp.Server(_params(xllamacpp, options))
    except Exception as error:
        return _refuse(EXIT_FAILED, f"llama.cpp did not start: {error}")
    threading.Event().wait()
    del server  # held until here: the server stops with its last reference
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m headgate.engines.embedded", description="llama.cpp server, embedded"
    )
    parser.add_argument("--model", required=True, help="a GGUF file")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--alias", default="headgate-demo", help="the model's name in answers")
    parser.add_argument("--ctx", type=int, default=DEFAULT_CONTEXT_TOKENS, help="context of each slot, in tokens")
    parser.add_argument("--slots", type=int, default=DEFAULT_SLOTS, help="requests served at once")
    return parser.parse_args(arguments)


def _params(xllamacpp: Any, options: argparse.Namespace) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.alias}
    params.hostnames = [options.host]
    params.port = options.port
    params.n_ctx = options.ctx * options.slots
    params.n_parallel = options.slots
    params.n_predict = DEFAULT_OUTPUT_TOKENS
    params.ctx_shift = False  # a prompt that does not fit is an error, not a prompt with its middle cut out
    params.fit_params = False  # nor is the context made smaller than was asked for
    # With mean pooling one server answers chats and embeddings alike.
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.n_batch = params.n_ubatch = min(BATCH_TOKENS, options.ctx)
    params.use_jinja = True
    params.ui = False
    params.warmup = False
    params.cache_ram_mib = 0  # the slots' own caches are enough
    params.cache_idle_slots = False
    params.endpoint_slots = False
    params.cors_origins = "http://127.0.0.1"  # web pages have no business here; the default lets all of them in
    params.verbosity = 1
    threads = max(1, min(MOST_THREADS, (os.cpu_count() or 1) // 2))
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_threads_http = options.slots + 4
    return params


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _leave_with_parent() -> NoReturn:
    """Waits for the end of standard input, then ends the process without asking the native threads."""
    with contextlib.suppress(OSError):  # closed from the start
        while os.read(0, 4096):
            pass
    os._exit(0)


def _refuse(status: int, reason: str) -> int:
    print(f"{SPEAKER} {reason}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
