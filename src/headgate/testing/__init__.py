"""Fakes that ship with headgate: a scripted provider with every fault, for its own tests and for those of its users."""

from headgate.testing.http1 import Request
from headgate.testing.replies import Answer, End, Raw, Reply, Stream, Wait
from headgate.testing.turns import Call, Turn, Usage
from headgate.testing.upstream import ScriptedUpstream
from headgate.testing.vendor import Vendor

__all__ = [
    "Answer",
    "Call",
    "End",
    "Raw",
    "Reply",
    "Request",
    "ScriptedUpstream",
    "Stream",
    "Turn",
    "Usage",
    "Vendor",
    "Wait",
]
