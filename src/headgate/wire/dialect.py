"""The wire formats that clients send and upstreams speak, and the path each is served on."""

from __future__ import annotations

from enum import StrEnum


class Dialect(StrEnum):
    CHAT = "openai.chat"
    COMPLETIONS = "openai.completions"
    EMBEDDINGS = "openai.embeddings"
    RESPONSES = "openai.responses"
    MESSAGES = "anthropic.messages"

    @property
    def is_anthropic(self) -> bool:
        return self is Dialect.MESSAGES


#: Where a client posts each dialect; upstream the same path without `/v1`, under the provider's base_url.
PATHS: dict[Dialect, str] = {
    Dialect.CHAT: "/v1/chat/completions",
    Dialect.COMPLETIONS: "/v1/completions",
    Dialect.EMBEDDINGS: "/v1/embeddings",
    Dialect.RESPONSES: "/v1/responses",
    Dialect.MESSAGES: "/v1/messages",
}

COUNT_TOKENS_PATH = "/v1/messages/count_tokens"
