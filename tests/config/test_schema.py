"""The settings: limits, defaults, and what each means for the gateway."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from headgate.config import settings
from headgate.config.document import Document
from headgate.config.jsonschema import json_schema
from headgate.config.load import build, load
from headgate.config.schema import DEFAULT_BASE_URL, Config, ProviderSettings, RateSettings
from headgate.errors import ConfigError
from headgate.routing.target import Timeouts
from headgate.wire.dialect import Dialect

KEY = "sk-very-secret-4711"


@pytest.fixture
def read(tmp_path):
    """Loads a configuration given as values, with no environment but a home."""

    def loaded(values: dict[str, Any], **environ: str) -> Config:
        file = tmp_path / "headgate.yaml"
        file.write_text(yaml.safe_dump(values, sort_keys=False) if values else "{}")
        return load(file, environ={"HEADGATE_HOME": str(tmp_path), **environ}).config

    return loaded


@pytest.fixture
def found(read):
    """The findings of a configuration, as {path: (problem, fix)}."""

    def findings(values: dict[str, Any], **environ: str) -> dict[str, tuple[str, str]]:
        with pytest.raises(ConfigError) as caught:
            read(values, **environ)
        return {finding.path: (finding.problem, finding.fix) for finding in caught.value.findings}

    return findings


def one(**provider: Any) -> dict[str, Any]:
    return {"providers": [{"name": "p", "kind": "ollama", **provider}]}


def test_an_empty_mapping_gives_the_promised_defaults(read, tmp_path):
    config = read({})
    assert (config.server.host, config.server.port, config.server.workers) == ("127.0.0.1", 4000, 1)
    assert (config.server.max_body_mib, config.server.header_timeout_s, config.server.body_timeout_s) == (64, 10, 30)
    assert (config.server.keep_alive_s, config.server.grace_s) == (75, 30)
    assert (config.auth, config.providers) == ("open", ())
    assert (config.log.format, config.log.level) == ("auto", "info")
    assert settings.ledger_url(config) == f"sqlite:///{tmp_path}/ledger.db"
    assert settings.admin_key(config) is None


def test_a_configuration_cannot_be_changed(read):
    with pytest.raises(ValueError, match="frozen"):
        read({}).server.port = 1


@pytest.mark.parametrize("kind", sorted(DEFAULT_BASE_URL))
def test_every_kind_has_an_address_by_default(read, kind):
    provider = settings.providers(read(one(kind=kind, api_key=KEY)))[0]
    assert provider.base_url == DEFAULT_BASE_URL[kind]
    assert provider.kind == kind
    assert provider.api_key == KEY


@pytest.mark.parametrize(
    ("kind", "base_url", "spoken"),
    [
        ("openai", None, "chat completions embeddings responses"),
        ("openai", "https://api.openai.com", "chat completions embeddings responses"),
        ("openai", "https://openrouter.example/api/v1", "chat completions embeddings"),
        ("anthropic", None, "messages"),
        ("anthropic", "http://127.0.0.1:9", "messages"),
        ("llamacpp", None, "chat completions embeddings"),
        ("vllm", None, "chat completions embeddings"),
    ],
)
def test_dialects_left_out_go_by_kind_and_host(read, kind, base_url, spoken):
    config = read(one(kind=kind, base_url=base_url, api_key=KEY))
    assert {str(d).split(".")[1] for d in settings.providers(config)[0].dialects} == set(spoken.split())


def test_dialects_that_are_written_win_over_the_kind(read):
    config = read(one(dialects=["openai.responses"]))
    assert settings.providers(config)[0].dialects == {Dialect.RESPONSES}


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1"),
        ("https://api.anthropic.com/", "https://api.anthropic.com/v1"),
        ("https://host/v1/", "https://host/v1"),
        ("http://host:8000/openai/v3//", "http://host:8000/openai/v3"),
        ("HTTP://Host.Example/V1", "http://host.example/V1"),
        ("http://[::1]:8080", "http://[::1]:8080/v1"),
        ("https://x.example/models", "https://x.example/models"),
    ],
)
def test_a_base_url_is_brought_to_one_form(read, written, used):
    assert settings.providers(read(one(base_url=written, api_key=KEY)))[0].base_url == used


@pytest.mark.parametrize(
    "written",
    [
        "ftp://host/v1",
        "host:8000",
        "/v1",
        "https://",
        "https://user:pw-4711@host/v1",
        "https://pw-4711@host/v1",
        "https://host/v1?key=pw-4711",
        "https://host/v1#pw-4711",
        "https://host/v1/chat/completions",
        "https://host:99999/v1",
        "https://host:0/v1",
        "https://[::1/v1",
        "https://ho st/v1",
        "https://höst/v1",
        "https:\\\\host",
    ],
)
def test_a_base_url_that_is_not_an_origin_and_a_path_is_a_finding_that_hides_it(found, written):
    findings = found(one(base_url=written))
    assert set(findings) == {"providers[0].base_url"}
    assert "4711" not in str(findings)


def test_engines_are_free_and_apis_are_paid_unless_said_otherwise(read):
    def of(**provider: Any) -> tuple[object, bool]:
        written = read(one(api_key=KEY, **provider)).providers[0]
        return settings.price(written), settings.is_paid(written)

    assert of(kind="ollama") == ("free", False)
    assert of(kind="openai") == ("auto", True)
    assert of(kind="openai", price="free") == ("free", False)
    assert of(kind="openai", price="free", paid=True) == ("free", True)
    assert of(kind="vllm", price="auto") == ("auto", True)
    assert of(kind="openai", paid=False) == ("auto", False)
    rates, paid = of(kind="vllm", price={"input_usd_per_mtok": 0.15, "output_usd_per_mtok": "0.60"})
    assert isinstance(rates, RateSettings)
    assert (rates.input_usd_per_mtok, rates.output_usd_per_mtok, paid) == (Decimal("0.15"), Decimal("0.60"), True)
    assert rates.request_usd is None


@pytest.mark.parametrize(
    "price",
    [
        0,
        "cheap",
        ["auto"],
        {"input_usd_per_mtok": 1},
        {"input_usd_per_mtok": -1, "output_usd_per_mtok": 1},
        {"input_usd_per_mtok": float("nan"), "output_usd_per_mtok": 1},
        {"input_usd_per_mtok": float("inf"), "output_usd_per_mtok": 1},
        {"input_usd_per_mtok": True, "output_usd_per_mtok": 1},
        {"input_usd_per_mtok": "x", "output_usd_per_mtok": 1},
        {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1, "typo_usd": 1},
    ],
)
def test_a_price_that_is_no_price_is_one_finding(found, price):
    findings = found(one(price=price))
    assert len(findings) == 1
    assert next(iter(findings)).startswith("providers[0].price")


@pytest.mark.parametrize("value", [0, -1, True, "x", float("inf"), float("nan"), 86_401, [1], {"a": 1}])
def test_a_timeout_is_a_positive_finite_number_of_seconds(found, value):
    assert set(found(one(timeouts={"idle_s": value}))) == {"providers[0].timeouts.idle_s"}


def test_timeouts_reach_the_gateway_with_the_defaults_of_the_target(read):
    assert settings.providers(read(one()))[0].timeouts == Timeouts()
    assert settings.providers(read(one(timeouts={"connect_s": 1.5})))[0].timeouts == Timeouts(connect_s=1.5)


@pytest.mark.parametrize("port", [True, -1, 65_536, 40.5, "x", [4000], float("nan")])
def test_a_port_is_a_whole_number_in_range(found, port):
    assert set(found({"server": {"port": port}})) == {"server.port"}


def test_a_port_in_quotes_is_taken_as_the_number_it_is(read):
    assert read({"server": {"port": "4001"}}).server.port == 4001


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_open_is_allowed_on_loopback(read, host):
    assert read({"server": {"host": host}, "auth": "open"}).auth == "open"


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "desk.local", "0", "::ffff:10.0.0.1", "127.0.0.1.example"]
)
def test_open_off_loopback_is_a_finding_also_when_auth_is_left_out(found, read, host):
    for values in ({"server": {"host": host}}, {"server": {"host": host}, "auth": "open"}):
        problem, fix = found(values)["auth"]
        assert "loopback" in problem
        assert "auth: keys" in fix
    assert read({"server": {"host": host}, "auth": "keys"}).server.host == host


@pytest.mark.parametrize("host", ["", "http://127.0.0.1", "127.0.0.1:4000", "a b", "a/b", "[::1", 5])
def test_a_host_that_cannot_be_listened_on_is_a_finding(found, host):
    assert "server.host" in found({"server": {"host": host}, "auth": "keys"})


@pytest.mark.parametrize(("kind", "variable"), [("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")])
def test_an_api_at_its_own_host_needs_a_key(found, read, kind, variable):
    for extra in ({}, {"api_key": ""}, {"base_url": DEFAULT_BASE_URL[kind]}):
        assert variable in found(one(kind=kind, **extra))["providers[0].api_key"][1]
    assert settings.providers(read(one(kind=kind, base_url="http://127.0.0.1:1/v1")))[0].api_key is None


@pytest.mark.parametrize(
    "key", [f"{KEY}\n", f" {KEY}", f"Bearer {KEY}", f"{KEY}\x00", f"{KEY}é", f"{KEY}\x7f", [KEY], {KEY: 1}]
)
def test_a_key_that_fits_no_header_is_a_finding_that_hides_it(found, key):
    for values, path in (
        (one(api_key=key), "providers[0].api_key"),
        ({"server": {"admin_key": key}}, "server.admin_key"),
    ):
        findings = found(values)
        assert set(findings) == {path}
        assert "4711" not in str(findings)


def test_no_repr_shows_a_secret(read):
    config = read(
        {
            "server": {"admin_key": KEY},
            "ledger": {"url": f"postgresql://u:{KEY}@h/d"},
            **one(kind="openai", api_key=KEY),
        }
    )
    shown = repr(config) + str(config) + str(config.model_dump()) + repr(settings.providers(config))
    assert KEY not in shown
    assert (settings.admin_key(config), settings.ledger_url(config)) == (KEY, f"postgresql://u:{KEY}@h/d")


@pytest.mark.parametrize("name", ["", "a/b", "-a", "a b", "ä", "a\n", "x" * 65])
def test_a_provider_has_a_plain_name(found, name):
    assert "providers[0].name" in found(one(name=name))


def test_every_later_provider_of_a_name_is_a_finding_along_with_its_other_faults(found):
    entries = [{"name": "a", "kind": "ollama"}, {"name": "a", "kind": "ollama"}, {"name": "a", "kind": "nope"}]
    assert set(found({"providers": entries})) == {"providers[1].name", "providers[2].name", "providers[2].kind"}


@pytest.mark.parametrize("models", [[], [1], [""], ["a\nb"], ["a "], "gpt", {"a": 1}])
def test_models_are_a_list_of_names_that_is_not_empty(found, models):
    assert next(iter(found(one(models=models)))).startswith("providers[0].models")


def test_models_that_are_left_out_are_whatever_the_provider_lists(read):
    assert settings.providers(read(one()))[0].models is None
    assert settings.providers(read(one(models=["b", "org/a", "b"])))[0].models == ("b", "org/a")


@pytest.mark.parametrize(
    "url",
    [
        "mysql://h/d",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///x.db?mode=memory",
        "sqlite:///~/x.db",
        "sqlite:///dir/",
        "postgres://u:pw-4711@h/d",
        "postgresql+asyncpg://u:pw-4711@h/d",
        "postgresql://",
        "postgresql://u:pw-4711@/d",
        "postgresql://u:pw-4711@:5432/d",
        "postgresql://u:pw-4711@h1,/d",
        "postgresql://u:pw-4711@h:/d",
        "postgresql://u:pw-4711@h:0/d",
        "postgresql://u:pw-4711@h:65536/d",
        "postgresql://u:pw-4711@h:x/d",
        "postgresql://u:pw-4711@[::1]x/d",
        "postgresql://u:pw-4711",
        "ledger.db",
        7,
    ],
)
def test_a_ledger_is_a_file_of_sqlite_or_a_postgresql_database(found, url):
    findings = found({"ledger": {"url": url}})
    assert set(findings) == {"ledger.url"}
    assert "4711" not in str(findings)


@pytest.mark.parametrize("character", ["/", "#", "?", "@", " ", "[", "]", "\uff20", "1/", "1?"])
@pytest.mark.parametrize("place", ["{}:pw-4711@h/d", "u:{}pw-4711@h:1/d?sslmode=require", "u:47{}11@h/d"])
def test_a_raw_character_in_a_user_or_password_is_found_and_the_fix_is_to_encode_it(found, place, character):
    written = place.format(f"x{character}y")
    problem, fix = found({"ledger": {"url": f"postgresql://{written}"}})["ledger.url"]
    assert "percent-encoded" in problem
    assert "`/` as %2F" in fix
    assert "47" not in problem + fix


@pytest.mark.parametrize(
    "rest",
    [
        "h/d",
        "u@h",
        "u:a%2Fb%40c@h:5432/d?sslmode=require",
        "u:a:b@[::1]:5432/d",
        "u:p@[::1]/d",
        "u:p@h1:1,h2:2/d",
        "u:p@/d?host=/run/postgresql",
    ],
)
def test_a_postgresql_database_is_taken_by_the_settings_and_the_ledger_alike(read, rest):
    from headgate.ledger.database import _postgresql_place

    url = settings.ledger_url(read({"ledger": {"url": f"postgresql://{rest}"}}))
    assert url == f"postgresql://{rest}"
    assert _postgresql_place(url).startswith("postgresql://")


@pytest.mark.parametrize("section", sorted(Config.later()))
@pytest.mark.parametrize("value", [None, [], {}, [{"name": "house", "cap_usd": 100}], "x"])
def test_a_section_of_a_later_version_is_refused_and_never_ignored(found, section, value):
    problem, fix = found({section: value})[section]
    assert "not in this version" in problem
    assert "Did you mean" not in fix


def test_a_budget_shorthand_of_a_later_version_is_refused(found):
    assert "not in this version" in found(one(monthly_budget_usd=50))["providers[0].monthly_budget_usd"][0]


def test_an_unknown_key_names_the_nearest_right_one(found):
    findings = found(
        {"server": {"prot": 1}, "sever": {}, "budget": [], "port": 1, **one(**{"base-url": "x", "zzz": 1})}
    )
    assert "`port`" in findings["server.prot"][1]
    assert "`server`" in findings["sever"][1]
    assert "`budgets`" in findings["budget"][1]
    assert "not in this version" in findings["budget"][1]
    assert "below `server`" in findings["port"][1]
    assert "`base_url`" in findings["providers[0].base-url"][1]
    assert "Known here" in findings["providers[0].zzz"][1]


def test_a_choice_that_is_misspelt_names_the_nearest_right_one(found):
    findings = found(one(kind="olama", dialects=["openai.chat", "openai.embedings"]))
    assert "Did you mean ollama?" in findings["providers[0].kind"][1]
    assert "Did you mean openai.embeddings?" in findings["providers[0].dialects[1]"][1]


def test_a_section_with_nothing_after_it_counts_as_left_out(read):
    config = read({"server": None, "providers": None, "log": {"level": None}, "auth": None})
    assert (config.server.port, config.providers, config.log.level) == (4000, (), "info")


def test_what_needs_a_restart_is_told_apart_from_what_does_not(read):
    old = read(one())
    assert settings.needs_restart(old, read(one(models=["a"]))) == ()
    assert settings.needs_restart(old, read({"server": {"port": 1}, "log": {"level": "debug"}})) == ("server", "log")
    assert settings.needs_restart(old, read({"ledger": {"url": "sqlite:///other.db"}})) == ("ledger",)


def properties() -> list[tuple[str, str, dict[str, Any]]]:
    schema = json_schema()
    models = {"Config": schema, **schema["$defs"]}
    return [(name, key, one) for name, model in models.items() for key, one in model.get("properties", {}).items()]


@pytest.mark.parametrize(
    ("model", "key", "schema"), properties(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_schema_for_editors_describes_every_setting_and_takes_references(model, key, schema):
    assert schema["title"] == key
    assert schema["description"].endswith(".")
    branches = schema.get("anyOf", [schema])
    bare = any({"enum", "const"} & set(b) or b.get("type") in ("integer", "number", "boolean") for b in branches)
    reference = any(b.get("pattern") == r"\$\{" for b in branches)
    assert not bare or reference
    assert not ({"gt", "ge", "le"} & {word for b in branches for word in b}), "a limit that editors do not know"


def test_the_schema_for_editors_refuses_unknown_keys():
    schema = json_schema()
    objects = [schema, *(one for one in schema["$defs"].values() if one["type"] == "object")]
    assert len(objects) > 5
    assert all(one["additionalProperties"] is False for one in objects)


def test_every_setting_of_a_provider_in_the_contract_is_in_the_schema():
    contract = "name kind base_url api_key models price paid dialects capabilities unknown_fields timeouts"
    assert list(ProviderSettings.model_fields) == contract.split()


DOCUMENTATION = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_example_in_the_documentation_is_valid(read):
    example = re.findall(r"```yaml\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)[0]
    config = read(yaml.safe_load(example), OPENAI_API_KEY=KEY, ANTHROPIC_API_KEY=KEY)
    assert [provider.name for provider in settings.providers(config)] == ["openai", "claude", "desk"]


def test_the_documentation_names_every_setting():
    text = DOCUMENTATION.read_text()
    assert [key for _, key, _ in properties() if not re.search(rf"\b{key}\b", text)] == []


@pytest.mark.parametrize("word", ["no", "off", "yes", "on", 0, 1])
def test_only_true_and_false_are_truth_values(word):
    with pytest.raises(ConfigError, match=r"providers\[0\]\.paid: is neither true nor false"):
        build(Document(values={"providers": [{"name": "a", "kind": "ollama", "paid": word}]}), {}, {})


def test_a_fault_in_server_does_not_hide_that_open_mode_is_not_for_its_host():
    with pytest.raises(ConfigError) as caught:
        build(Document(values={"server": {"host": "0.0.0.0", "prot": 99}}), {}, {})
    assert {finding.path for finding in caught.value.findings} == {"server.prot", "auth"}
