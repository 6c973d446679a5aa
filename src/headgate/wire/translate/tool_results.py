"""The result of a tool where its message holds text alone, as in chat: its images and files go to the user's message
that follows the results, and each of the two says where the other is."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

_ELSEWHERE: Final = "What it gave back follows in the next message of the user."


def as_text(call_id: str, text: str, media: list[Json]) -> tuple[str, list[Json]]:
    """The tool message's text, and the parts for the user's message; none where there are no media.

    call_id: as the tool's message has it. text: what of the result is text, its pieces joined by blank lines. media:
    the other parts of the result, as the dialect of the upstream writes them.
    """
    if not media:
        return text, []
    return text or _ELSEWHERE, [{"type": "text", "text": f"What the tool call {call_id} gave back:"}, *media]
