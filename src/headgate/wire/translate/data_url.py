"""Data URLs, in which chat holds what messages and files hold as a media type and base64."""

from __future__ import annotations

from typing import NamedTuple


class DataUrl(NamedTuple):
    """media_type: in lower case, without its parameters; empty where the URL names none. data: as it was written, in
    base64 or percent-encoded."""

    media_type: str
    is_base64: bool
    data: str

    def __str__(self) -> str:
        return f"data:{self.media_type}{';base64' if self.is_base64 else ''},{self.data}"


def parse(text: str) -> DataUrl | None:
    """None for what is no data URL."""
    if text[:5].lower() != "data:":
        return None
    head, comma, data = text[5:].partition(",")
    if not comma:
        return None
    media_type, *parameters = head.split(";")
    is_base64 = any(parameter.strip().lower() == "base64" for parameter in parameters)
    return DataUrl(media_type.strip().lower(), is_base64, data)
