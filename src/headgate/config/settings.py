"""What the settings mean: the configuration translated to what the gateway uses, with what was left out filled in."""

from __future__ import annotations

from headgate.config.address import origin_host
from headgate.config.schema import DEFAULT_BASE_URL, ENGINE_KINDS, Config, ProviderSettings, RateSettings
from headgate.routing.target import Provider, Timeouts
from headgate.wire.dialect import Dialect

_OPENAI = frozenset({Dialect.CHAT, Dialect.COMPLETIONS, Dialect.EMBEDDINGS})


def base_url(provider: ProviderSettings) -> str:
    """Its address without a trailing slash, by kind where it was left out."""
    return provider.base_url or DEFAULT_BASE_URL[provider.kind]


def dialects(provider: ProviderSettings) -> frozenset[Dialect]:
    """What it speaks itself; the rest is translated. llama.cpp's server has messages and responses of its own, whose
    streams lack events that the vendors' SDKs wait for, so headgate asks it in chat."""
    if provider.dialects is not None:
        return provider.dialects
    if provider.kind == "anthropic":
        return frozenset({Dialect.MESSAGES})
    if provider.kind == "openai" and origin_host(base_url(provider)) == "api.openai.com":
        return _OPENAI | {Dialect.RESPONSES}
    return _OPENAI


def counts_tokens(provider: ProviderSettings) -> bool:
    """Whether it answers Anthropic's count of tokens: who speaks messages does, and llama.cpp's server."""
    return provider.kind == "llamacpp" or Dialect.MESSAGES in dialects(provider)


def price(provider: ProviderSettings) -> str | RateSettings:
    """`auto`, `free`, or rates: as written, else free for an engine and auto for an API."""
    if provider.price is not None:
        return provider.price
    return "free" if provider.kind in ENGINE_KINDS else "auto"


def is_paid(provider: ProviderSettings) -> bool:
    """Whether using it costs money: as written, else whether its price is anything but free."""
    return price(provider) != "free" if provider.paid is None else provider.paid


def providers(config: Config) -> tuple[Provider, ...]:
    """The providers as the gateway uses them, in the order of the file."""
    return tuple(
        Provider(
            name=written.name,
            kind=written.kind,
            base_url=base_url(written),
            dialects=dialects(written),
            api_key=written.api_key.get_secret_value() if written.api_key else None,
            models=written.models,
            timeouts=Timeouts(**written.timeouts.model_dump()),
            counts_tokens=counts_tokens(written),
        )
        for written in config.providers
    )


def ledger_url(config: Config) -> str:
    """The ledger's address. It can hold a password: not for logs."""
    return config.ledger.url.get_secret_value()


def admin_key(config: Config) -> str | None:
    """The key of /admin; None where none is set."""
    return config.server.admin_key.get_secret_value() or None


def needs_restart(old: Config, new: Config) -> tuple[str, ...]:
    """The sections that differ and that a running gateway cannot take over."""
    return tuple(name for name in ("server", "ledger", "log") if getattr(old, name) != getattr(new, name))
