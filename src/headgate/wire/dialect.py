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

#: The dialects that are translated, in the order of preference: chat first, since it is one step from both others.
TRANSLATED = (Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES)


def route(client: Dialect, spoken: frozenset[Dialect]) -> Dialect | None:
    """The dialect to ask a provider in: the client's own where it is spoken, else one that can be translated. None
    where there is none: texts to be continued, and embeddings, are nothing that a conversation could stand for."""
    if client in spoken:
        return client
    if client not in TRANSLATED:
        return None
    return next((dialect for dialect in TRANSLATED if dialect in spoken), None)
