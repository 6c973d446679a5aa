"""What headgate.yaml can say: its settings, their limits and defaults, each with the text that an editor shows.

The models hold what was written. What a setting means where it was left out (a provider's address, price, dialects)
is worked out in `settings.py`, so that `None` here always reads as "not said".

Three rules keep the findings whole:

- A check lives at the field that it is about, and sees the fields before it. So the order of the fields matters, and a
  wrong field hides only the findings that depend on it.
- A check of our own raises `fault(problem, fix)`. Neither text may hold the value: it could be a secret.
- Settings of features that this version does not have are named by `later()`. They are refused: a budget that is read
  and not kept would be worse than none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Strict,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from headgate.config.address import is_loopback, normal_base_url, normal_host, origin_host
from headgate.routing.target import Timeouts
from headgate.wire.dialect import Dialect

Kind = Literal["openai", "anthropic", "llamacpp", "ollama", "vllm", "lmstudio", "tgi"]

ENGINE_KINDS: frozenset[str] = frozenset({"llamacpp", "ollama", "vllm", "lmstudio", "tgi"})

#: Where each kind is found when `base_url` is left out.
DEFAULT_BASE_URL: dict[str, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "llamacpp": "http://127.0.0.1:8080/v1",
    "ollama": "http://127.0.0.1:11434/v1",
    "vllm": "http://127.0.0.1:8000/v1",
    "lmstudio": "http://127.0.0.1:1234/v1",
    "tgi": "http://127.0.0.1:3000/v1",
}

#: Hosts that answer nobody without a key.
KEYED_HOSTS: frozenset[str] = frozenset({"api.openai.com", "api.anthropic.com"})

DEFAULT_LEDGER_URL = "sqlite:///${HEADGATE_HOME}/ledger.db"

#: The longest time that any timeout may be set to.
DAY_S = 86_400

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


def fault(problem: str, fix: str) -> PydanticCustomError:
    """A finding of our own; `findings.py` takes the two sentences out again."""
    return PydanticCustomError("headgate", "{problem}. {fix}", {"problem": problem, "fix": fix})


def home(environ: Mapping[str, str] | None = None) -> Path:
    """$HEADGATE_HOME as an absolute path, `~/.headgate` where it is not set."""
    written = (os.environ if environ is None else environ).get("HEADGATE_HOME") or "~/.headgate"
    try:
        return Path(written).expanduser().absolute()
    except RuntimeError:  # no home directory is known for `~`
        return Path(written).absolute()


def _number_not_truth(value: object) -> object:
    if isinstance(value, bool):
        raise fault("is true or false where a number is expected", "Write a number.")
    return value


_NotBool = BeforeValidator(_number_not_truth)


def _true_or_false(value: object) -> object:
    """YAML's own truth values, and the words for them from the environment; pydantic would take `no` and `off` too."""
    words = {"true": True, "false": False}
    return words.get(value.lower(), value) if isinstance(value, str) else value


Truth = Annotated[bool, Strict(), BeforeValidator(_true_or_false)]
Count = Annotated[int, _NotBool]
Tokens = Annotated[int, Field(ge=1, le=1_000_000_000), _NotBool]
Seconds = Annotated[float, Field(gt=0, le=DAY_S, allow_inf_nan=False), _NotBool]
Usd = Annotated[
    Decimal,
    Field(ge=0, le=1_000_000, allow_inf_nan=False),
    _NotBool,
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1_000_000}),
]


class Section(BaseModel):
    """The base of every model here: unknown keys are refused, values never change, `key:` with nothing is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @classmethod
    def later(cls) -> frozenset[str]:
        """Names of settings whose feature this version does not have."""
        return frozenset()

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_left_out(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return {key: held for key, held in value.items() if held is not None or key not in cls.model_fields}


def _header_safe(secret: SecretStr | None) -> SecretStr | None:
    """The key, or None where it is empty. It goes into a header, so it must be visible ASCII."""
    if secret is None or not secret.get_secret_value():
        return None
    if not all("!" <= character <= "~" for character in secret.get_secret_value()):
        raise fault(
            "holds a space, a line break or another character that no key has",
            "Give the key alone, without `Bearer`; where it is read from a file, leave out the line break at its end.",
        )
    return secret


class ServerSettings(Section):
    """The gateway's own side: its address, its processes, its patience with clients."""

    host: str = Field("127.0.0.1", description="Address to listen on. `0.0.0.0` listens on every one; needs auth keys.")
    port: Count = Field(4000, ge=0, le=65_535, description="TCP port to listen on; 0 takes any that is free.")
    workers: Count = Field(1, ge=1, le=256, description="Number of processes that serve requests.")
    admin_key: SecretStr = Field(SecretStr(""), description="Key for /admin, which this version does not have yet.")
    max_body_mib: Count = Field(64, ge=1, le=4096, description="Largest request body that is accepted, in MiB.")
    header_timeout_s: Seconds = Field(10.0, description="Seconds that a client has to send a request's headers.")
    body_timeout_s: Seconds = Field(
        30.0, description="Seconds for a body to begin, and for what of it comes slower than 16 KiB a second."
    )
    keep_alive_s: Seconds = Field(75.0, description="Seconds that an idle client connection is kept open.")
    grace_s: Seconds = Field(
        30.0, description="Seconds that requests in flight get to end after SIGTERM, before they are cut off."
    )

    @field_validator("host")
    @classmethod
    def _host_is_an_address(cls, value: str) -> str:
        host = normal_host(value)
        if host is None:
            raise fault("is not an address to listen on", "Write an IP address or a host name, with no scheme or port.")
        return host

    @field_validator("admin_key")
    @classmethod
    def _admin_key_fits_a_header(cls, value: SecretStr) -> SecretStr:
        return _header_safe(value) or SecretStr("")


def _ledger_fault(url: str) -> PydanticCustomError | None:
    """What is wrong with a ledger's address, if anything."""
    scheme, _, rest = url.partition("://")
    if any(character < " " for character in url):
        return fault("holds a control character", "Take it out.")
    if scheme == "postgresql" and rest:
        start, _, options = rest.partition("?")
        place = start.partition("/")[0]
        readable = rest.count("@") == place.count("@") <= 1 and not any(c.isspace() or c == "#" for c in rest)
        try:
            urlsplit(url)  # as the driver will; what it says may quote the password
        except ValueError:
            readable = False
        if not readable:
            return fault(
                "has a character in its user or password that must be percent-encoded",
                "Write `/` as %2F, `#` as %23, `?` as %3F, `@` as %40, `[` as %5B, `]` as %5D and a space as %20.",
            )
        hosts = place.rpartition("@")[2]
        if not hosts:  # it may be the directory of a socket, which stands among the options
            named = any(parse_qs(options).get("host", []))
            return None if named else fault("names no host", "Write `postgresql://user:password@host/database`.")
        for one in hosts.split(","):
            bracketed, _, after = one.rpartition("]")  # an IPv6 address has colons of its own
            host, colon, port = after.partition(":")
            if bool(bracketed) == bool(host):
                return fault("names no host", "Write `postgresql://user:password@host/database`.")
            if colon and not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
                return fault(
                    "has a port that is not a number from 1 to 65535",
                    "Write `postgresql://user:password@host:5432/database`.",
                )
        return None
    if scheme.startswith("postgres"):
        return fault("is not an address of a PostgreSQL database", "Write `postgresql://user:password@host/database`.")
    if scheme != "sqlite" or not rest.startswith("/"):
        return fault(
            "is neither SQLite nor PostgreSQL",
            "Write `sqlite:///` and the path of a file, or `postgresql://user:password@host/database`.",
        )
    file = rest[1:]
    if not file or file == ":memory:" or file.endswith("/") or "?" in file:
        return fault("names no file", f"Write `sqlite:///` and the path of a file, as in `{DEFAULT_LEDGER_URL}`.")
    if file.startswith("~"):
        return fault("starts with `~`, which is not expanded here", "Write `sqlite:///${HOME}/` and the rest.")
    return None


class LedgerSettings(Section):
    """Where keys, prices and what was spent are stored."""

    url: SecretStr = Field(
        default_factory=lambda: SecretStr(f"sqlite:///{home()}/ledger.db"),
        description="`sqlite:///` and the path of a file on a local disk, or `postgresql://user:password@host/database`.",
        json_schema_extra={"default": DEFAULT_LEDGER_URL},
    )

    @field_validator("url")
    @classmethod
    def _url_is_a_database(cls, value: SecretStr) -> SecretStr:
        wrong = _ledger_fault(value.get_secret_value())
        if wrong is not None:
            raise wrong
        return value


class LogSettings(Section):
    """What the gateway writes to standard error."""

    format: Literal["auto", "json", "console"] = Field(
        "auto", description="json: one object per line. console: for people. auto: console on a terminal, else json."
    )
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is written.")


_DEFAULT_TIMEOUTS = Timeouts()


class TimeoutSettings(Section):
    """Patience with a provider, in seconds. All are per attempt but `total_s`."""

    connect_s: Seconds = Field(_DEFAULT_TIMEOUTS.connect_s, description="Seconds to connect, with TLS.")
    first_token_s: Seconds = Field(
        _DEFAULT_TIMEOUTS.first_token_s, description="Seconds until a stream brings its first content."
    )
    response_s: Seconds = Field(
        _DEFAULT_TIMEOUTS.response_s, description="Seconds for a whole answer that is not streamed."
    )
    idle_s: Seconds = Field(_DEFAULT_TIMEOUTS.idle_s, description="Seconds that a stream may be silent in its middle.")
    total_s: Seconds = Field(
        _DEFAULT_TIMEOUTS.total_s, description="Seconds for the whole request, with all its attempts."
    )


class CapabilitySettings(Section):
    """What the provider's models can do. What is left out is unknown, and unknown counts as able."""

    tools: Truth | None = Field(None, description="Whether the models can call tools.")
    images: Truth | None = Field(None, description="Whether the models take images.")
    context: Tokens | None = Field(None, description="Context window, in tokens.")


class RateSettings(Section):
    """A price of one's own, in US dollars per million tokens."""

    input_usd_per_mtok: Usd = Field(description="US dollars per million input tokens; 0 where they are free.")
    output_usd_per_mtok: Usd = Field(description="US dollars per million output tokens; 0 where they are free.")
    cached_input_usd_per_mtok: Usd | None = Field(
        None, description="US dollars per million input tokens read from a cache. Left out: as other input."
    )
    cache_write_usd_per_mtok: Usd | None = Field(
        None, description="US dollars per million input tokens written to a cache. Left out: as other input."
    )
    request_usd: Usd | None = Field(None, description="US dollars per request, on top. Left out: none.")


def _price_word(value: object) -> object:
    if not isinstance(value, str) or value not in ("auto", "free"):
        raise fault(
            "is not a price",
            "Write `auto`, `free`, or a mapping with `input_usd_per_mtok` and `output_usd_per_mtok`.",
        )
    return value


def _price_branch(value: object) -> str:
    return "<rates>" if isinstance(value, Mapping | RateSettings) else "<word>"


Price = Annotated[
    Annotated[Literal["auto", "free"], BeforeValidator(_price_word), Tag("<word>")]
    | Annotated[RateSettings, Tag("<rates>")],
    Discriminator(_price_branch),
]


class _Duplicate:
    """Stands in a provider's place for a name that an earlier one has."""


class ProviderSettings(Section):
    """One upstream: a paid API, or a model server of one's own."""

    @classmethod
    def later(cls) -> frozenset[str]:
        return frozenset({"monthly_budget_usd"})

    name: str = Field(
        min_length=1, max_length=64, pattern=_NAME, description="The first part of `provider/model`. Must be unique."
    )
    kind: Kind = Field(
        description="What it is. API: openai (or any that is compatible), anthropic. "
        "Engine: llamacpp, ollama, vllm, lmstudio, tgi."
    )
    base_url: str | None = Field(
        None, description="Its address up to and with the version, such as https://host/v1. Left out: by kind."
    )
    api_key: SecretStr | None = Field(
        None,
        validate_default=True,
        description="The key that is sent to it, best as ${NAME} from the environment.",
    )
    models: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] | None = Field(
        None, min_length=1, description="The models that it may be asked for. Left out: whatever it lists."
    )
    price: Price | None = Field(
        None,
        description="auto: from the price book. free: costs nothing. Or rates of your own. "
        "Left out: auto for an API, free for an engine.",
    )
    paid: Truth | None = Field(None, description="Whether using it costs money. Left out: false where price is free.")
    dialects: frozenset[Dialect] | None = Field(
        None, min_length=1, description="What it speaks itself; the rest is translated. Left out: by kind."
    )
    capabilities: CapabilitySettings = Field(
        CapabilitySettings(), description="What its models can do. Left out: unknown, which counts as able."
    )
    unknown_fields: Literal["pass"] = Field(
        "pass", description="What happens to request fields that headgate does not know: they are sent on."
    )
    timeouts: TimeoutSettings = Field(TimeoutSettings(), description="How long to wait for it, in seconds.")

    @field_validator("name", mode="before")
    @classmethod
    def _name_is_unique(cls, value: object) -> object:
        if isinstance(value, _Duplicate):
            raise fault("is the name of an earlier provider too", "Give each provider a name of its own.")
        return value

    @field_validator("base_url")
    @classmethod
    def _base_url_is_an_origin_and_path(cls, value: str | None) -> str | None:
        if not value:
            return None
        url, problem, fix = normal_base_url(value)
        if problem:
            raise fault(problem, fix)
        return url

    @field_validator("api_key")
    @classmethod
    def _api_key_is_there_and_fits_a_header(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        key = _header_safe(value)
        if key is None and "kind" in info.data and "base_url" in info.data:
            host = origin_host(info.data["base_url"] or DEFAULT_BASE_URL[info.data["kind"]])
            if host in KEYED_HOSTS:
                variable = f"{host.split('.')[1].upper()}_API_KEY"
                raise fault(
                    f"is missing, and {host} answers nobody without a key", f"Write `api_key: ${{{variable}}}`."
                )
        return key

    @field_validator("models")
    @classmethod
    def _models_are_plain_names(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and not all(model.isprintable() and model == model.strip() for model in value):
            raise fault("holds a model with a line break or a space at its end", "Write the model's name alone.")
        return None if value is None else tuple(dict.fromkeys(value))


class Config(Section):
    """headgate.yaml: the configuration of headgate, a gateway for LLM traffic."""

    @classmethod
    def later(cls) -> frozenset[str]:
        money = {"budgets", "alerts", "energy"}
        routing = {"default_profile", "profiles", "rules", "routing", "mesh"}
        machine = {"engines", "serving", "memory", "thrash"}
        return frozenset(money | routing | machine)

    server: ServerSettings = Field(
        ServerSettings(), description="Where the gateway listens, and the limits that it puts on clients."
    )
    ledger: LedgerSettings = Field(
        default_factory=LedgerSettings, description="The database of keys and of what was spent."
    )
    auth: Literal["open", "keys"] = Field(
        "open",
        validate_default=True,
        description="open: whoever can reach the gateway may use it (loopback only). keys: clients need a key.",
    )
    providers: tuple[ProviderSettings, ...] = Field(
        (), max_length=1000, description="Where requests can go, in the order in which they are preferred."
    )
    log: LogSettings = Field(LogSettings(), description="What is written to standard error, and how.")

    @field_validator("auth")
    @classmethod
    def _open_is_for_loopback(cls, value: str, info: ValidationInfo) -> str:
        if value == "open" and "server" in info.data and not is_loopback(info.data["server"].host):
            raise fault(
                "is open while server.host is not a loopback address: whoever can reach it could spend your money",
                "Set `auth: keys`, or `server.host` to 127.0.0.1.",
            )
        return value

    @field_validator("providers", mode="before")
    @classmethod
    def _names_are_unique(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        seen: set[str] = set()
        marked: list[object] = []
        for item in value:
            name = item.get("name") if isinstance(item, Mapping) else getattr(item, "name", None)
            if isinstance(name, str) and name in seen:
                marked.append({**(item if isinstance(item, Mapping) else dict(item)), "name": _Duplicate()})
                continue
            if isinstance(name, str):
                seen.add(name)
            marked.append(item)
        return marked
