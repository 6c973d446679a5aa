"""Where a request can go: a provider as the gateway uses it, and one of its models."""

from __future__ import annotations

from dataclasses import dataclass, field

from headgate.wire.dialect import Dialect, route


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. Per attempt: a stream has `first_token_s` (to content) and `idle_s`, the rest have `response_s`.
    `total_s` is for the whole request."""

    connect_s: float = 5.0
    first_token_s: float = 120.0
    response_s: float = 300.0
    idle_s: float = 60.0
    total_s: float = 900.0


@dataclass(frozen=True, slots=True)
class Provider:
    """One upstream.

    base_url: without a trailing slash, with its version segment (`https://api.openai.com/v1`).
    api_key: sent upstream, and nowhere else; None where the provider needs none.
    models: the models it may be asked for; None means whatever it lists.
    dialects: what it speaks itself; the rest is translated.
    counts_tokens: whether it can be asked for a count of tokens (Anthropic's count_tokens).
    """

    name: str
    kind: str
    base_url: str
    dialects: frozenset[Dialect]
    api_key: str | None = field(default=None, repr=False)
    models: tuple[str, ...] | None = None
    timeouts: Timeouts = Timeouts()
    counts_tokens: bool = False

    def asked_in(self, client: Dialect) -> Dialect | None:
        """The dialect that it is asked in for a client of this one; None where it cannot be."""
        return route(client, self.dialects)


@dataclass(frozen=True, slots=True)
class Target:
    """`provider/model`: the physical thing that an attempt is sent to."""

    provider: Provider
    model: str
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.provider.name}/{self.model}")
