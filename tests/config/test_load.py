"""From text and environment to a configuration, or to every reason why not."""

from __future__ import annotations

import contextlib
import os
import traceback
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate.config.document import MAX_BYTES, parse
from headgate.config.findings import shown_key, text_of
from headgate.config.load import Loaded, build, find, fingerprint, load
from headgate.config.settings import ledger_url
from headgate.errors import ConfigError, Finding

SECRET = "sk-very-secret-4711"
PROVIDER = "providers:\n  - name: p\n    kind: ollama\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory; `place(text, **environ)` loads the text from a file in it."""
    monkeypatch.chdir(tmp_path)

    def loaded(text: str | bytes, **environ: str) -> Loaded:
        file = tmp_path / "headgate.yaml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return load(file, environ={"HEADGATE_HOME": str(tmp_path / "home"), **environ})

    return loaded


@pytest.fixture
def findings(place):
    def found(text: str | bytes, **environ: str) -> tuple[Finding, ...]:
        with pytest.raises(ConfigError) as caught:
            place(text, **environ)
        return caught.value.findings

    return found


# Finding the file


def test_the_file_is_looked_for_in_the_promised_order(tmp_path, monkeypatch):
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    monkeypatch.chdir(here)
    environ = {"HEADGATE_HOME": str(home)}
    assert find(None, environ) is None
    (home / "headgate.yaml").write_text(PROVIDER)
    assert find(None, environ) == home / "headgate.yaml"
    (here / "headgate.yaml").write_text(PROVIDER)
    assert find(None, environ) == here / "headgate.yaml"
    assert find(None, {**environ, "HEADGATE_CONFIG": str(tmp_path / "c.yaml")}) == tmp_path / "c.yaml"
    assert find("d.yaml", {**environ, "HEADGATE_CONFIG": "c.yaml"}) == here / "d.yaml"


def test_a_file_that_was_named_and_is_not_there_is_a_finding_with_the_name_of_who_named_it(tmp_path):
    with pytest.raises(ConfigError, match="--config"):
        load(tmp_path / "nope.yaml", environ={})
    with pytest.raises(ConfigError, match="HEADGATE_CONFIG"):
        load(environ={"HEADGATE_CONFIG": str(tmp_path / "nope.yaml")}, file_optional=True)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, environ={})
    with pytest.raises(ConfigError, match="cannot be read"):
        load("a\0b", environ={})


def test_no_file_means_the_defaults_only_where_that_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environ = {"HEADGATE_HOME": str(tmp_path), "HEADGATE_SERVER__PORT": "4001"}
    with pytest.raises(ConfigError, match="HEADGATE_CONFIG"):
        load(environ=environ)
    loaded = load(environ=environ, file_optional=True)
    assert (loaded.path, loaded.fingerprint, loaded.config.server.port) == (None, None, 4001)


def test_a_fingerprint_changes_with_content_with_replacement_and_with_where_a_link_points(tmp_path):
    one, two, link = tmp_path / "one", tmp_path / "two", tmp_path / "link"
    one.write_text("a")
    two.write_text("a")
    os.utime(two, ns=(one.stat().st_mtime_ns, one.stat().st_mtime_ns))
    link.symlink_to(one)
    first = fingerprint(link)
    assert first == fingerprint(one)
    assert first == fingerprint(link)
    link.unlink()
    link.symlink_to(two)
    assert fingerprint(link) != first
    two.write_text("ab")
    assert fingerprint(link) == fingerprint(two) != first
    two.unlink()
    assert fingerprint(link) is None


def test_loaded_holds_the_fingerprint_of_the_file_that_was_read(place, tmp_path):
    loaded = place(PROVIDER)
    assert loaded.path == tmp_path / "headgate.yaml"
    assert loaded.fingerprint == fingerprint(loaded.path)


# YAML and its traps


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, "is empty"),
        ("# only a comment\n", None, "is empty"),
        ("- a\n", None, "at its top"),
        ("words\n", None, "at its top"),
        ("server:\n\tport: 1\n", 2, "a tab at column 1"),
        ("auth: open\nserver: {port: 1\n", 3, "is not YAML"),
        ("a: b: c\n", 1, "a second `:`"),
        ("auth: open\n---\nauth: keys\n", 2, "a second document"),
        ("auth: *nothing\n", 1, "an alias of nothing"),
        ("auth: 'open\n", 2, "inside a quote"),
        ('auth: "\\UFFFFFFFF"\n', None, "escape"),
        ("auth: open\nserver:\n  port: 1\n host: x\n", 4, "does not line up"),
        (b"auth: open\nlog: \xff\n", 2, "is not UTF-8"),
        (b"auth: open\nlog: \x01\n", 2, "control character"),
        ("a: " + "[" * 5000, None, "nested too deeply"),
        (b"#" * (MAX_BYTES + 1), None, "larger than 256 KiB"),
    ],
)
def test_text_that_cannot_be_read_is_one_finding_with_its_line(findings, text, line, words):
    (finding,) = findings(text)
    assert words in finding.problem
    assert finding.line == line
    assert finding.fix.endswith((".", "?"))


def test_a_key_that_is_there_twice_is_a_finding_beside_the_others(findings):
    one, two = findings("server:\n  port: 1\n  port: 2\nauth: nope\n")
    assert (one.path, one.line) == ("server.port", 3)
    assert "first on line 2" in one.problem
    assert (two.path, two.line) == ("auth", 4)


def test_a_truth_value_is_true_or_false_as_in_editors_so_no_stays_a_word(place, findings):
    assert place("providers: [{name: no, kind: ollama}]").config.providers[0].name == "no"
    assert findings("server: {port: true}")[0].path == "server.port"
    assert place("providers: [{name: p, kind: ollama, models: [2024-05-13, 1:30]}]").config.providers[0].models == (
        "2024-05-13",
        "1:30",
    )


@pytest.mark.parametrize(("text", "value"), [("0x10", 16), ("0o17", 15), ("010", 10), ("+5", 5), ("1e3", 1000)])
def test_numbers_are_those_of_yaml_1_2(place, text, value):
    assert place(f"server: {{port: {text}}}").config.server.port == value


@pytest.mark.parametrize(
    "text",
    [".inf", "-.inf", ".nan", ".NaN", "1e999", "1" * 5000, "!!int x", "!!python/object:os.system x", "!x 1", "{}"],
)
def test_a_number_that_is_none_is_one_finding_at_its_place(findings, text):
    (finding,) = findings(f"auth: keys\nserver:\n  port: {text}\n")
    assert (finding.path, finding.line) == ("server.port", 3)


def test_aliases_work_and_a_bomb_of_them_is_refused(place, findings):
    text = "providers:\n- {name: a, kind: ollama, timeouts: &t {idle_s: 7}}\n- {name: b, kind: ollama, timeouts: *t}\n"
    assert [p.timeouts.idle_s for p in place(text).config.providers] == [7, 7]
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    assert "values, aliases counted" in findings(bomb)[0].problem
    assert "nested too deeply" in findings("a: &a [*a]\n")[0].problem
    assert any("merge key" in one.problem for one in findings("log: &l {level: info}\nserver: {<<: *l}\n"))


def test_a_byte_order_mark_is_skipped(place):
    assert place(b"\xef\xbb\xbfauth: keys\n").config.auth == "keys"


def test_keys_that_are_no_words_are_findings(findings):
    paths = [one.path for one in findings("1: x\n? [a]\n: 2\ntrue: y\n? {b: 1}\n: 3\n")]
    assert paths.count("(file)") == 2
    assert "true" in paths


# References


def test_references_take_the_environment_and_their_defaults(place):
    text = """
server: {port: "${PORT}", host: "${HOST:-127.0.0.1}"}
providers:
  - {name: "a-${WHO}", kind: ollama, api_key: "${EMPTY:-x$$y}", models: ["${M:-m}", "$plain", "$${M}"]}
"""
    config = place(text, PORT="4001", WHO="b", EMPTY="", M="").config
    assert (config.server.port, config.server.host) == (4001, "127.0.0.1")
    assert config.providers[0].name == "a-b"
    assert config.providers[0].models == ("m", "$plain", "${M}")


def test_a_default_is_taken_as_it_stands(place):
    assert place("server: {admin_key: '${X:-x$$y}'}").config.server.admin_key.get_secret_value() == "x$$y"


def test_a_variable_can_neither_inject_yaml_nor_refer_to_another(place):
    text = "providers: [{name: p, kind: ollama, models: ['${M}']}]"
    assert place(text, M="${OTHER} [a, b]: {c}").config.providers[0].models == ("${OTHER} [a, b]: {c}",)


def test_an_unset_variable_is_one_finding_that_names_it_at_its_place(findings):
    one, two = findings("auth: keys\nserver:\n  port: ${NO_PORT}\n  admin_key: ${NO_KEY}\n")
    assert (one.path, one.line) == ("server.port", 3)
    assert "NO_PORT" in one.problem
    assert (two.path, two.line) == ("server.admin_key", 4)
    assert "NO_KEY" in two.problem


@pytest.mark.parametrize("text", ["${", "${}", "${sk-4711}", "${A:-${B}}", "${A-b}", "${A"])
def test_a_reference_that_is_none_is_a_finding_that_does_not_quote_it(findings, text):
    (finding,) = findings(f"server: {{admin_key: '{text}'}}")
    assert finding.path == "server.admin_key"
    assert "4711" not in text_of(finding)


def test_headgate_home_is_always_there_to_refer_to(place, tmp_path):
    text = "ledger: {url: 'sqlite:///${HEADGATE_HOME}/x.db'}"
    assert ledger_url(place(text).config) == f"sqlite:///{tmp_path}/home/x.db"
    assert ledger_url(place(text, HEADGATE_HOME="").config) == f"sqlite:///{Path.home()}/.headgate/x.db"
    assert ledger_url(place("ledger:", HEADGATE_HOME="rel").config) == f"sqlite:///{tmp_path}/rel/ledger.db"


# Overrides


def test_any_setting_can_be_overridden_by_the_environment(place):
    config = place(
        PROVIDER + "    price: auto\n    api_key: ${UNSET}\n",
        HEADGATE_AUTH="keys",
        HEADGATE_SERVER__PORT="4001",
        HEADGATE_SERVER__ADMIN_KEY="007",
        HEADGATE_LOG__LEVEL="debug",
        HEADGATE_PROVIDERS__0__API_KEY="k${ey}",
        HEADGATE_PROVIDERS__0__MODELS='["a", "b"]',
        HEADGATE_PROVIDERS__0__TIMEOUTS__IDLE_S="1.5",
        HEADGATE_PROVIDERS__0__PRICE__INPUT_USD_PER_MTOK="0.15",
        HEADGATE_PROVIDERS__0__PRICE__OUTPUT_USD_PER_MTOK="0",
        HEADGATE_PROVIDERS__0__CAPABILITIES__TOOLS="false",
        HEADGATE_PROVIDERS__1='{"name": "q", "kind": "vllm"}',
        HEADGATE_PROVIDERS__2__NAME="r",
        HEADGATE_PROVIDERS__2__KIND="tgi",
        HEADGATE_PROVIDERS__2__PRICE="free",
        HEADGATE_PROVIDERS__2__MODELS__0="m",
    ).config
    first, second, third = config.providers
    assert (config.auth, config.server.port, config.log.level) == ("keys", 4001, "debug")
    assert config.server.admin_key.get_secret_value() == "007"
    assert first.api_key.get_secret_value() == "k${ey}"
    assert (first.models, first.timeouts.idle_s, first.capabilities.tools) == (("a", "b"), 1.5, False)
    assert str(first.price.input_usd_per_mtok) == "0.15"
    assert (second.name, second.kind) == ("q", "vllm")
    assert (third.name, third.price, third.models) == ("r", "free", ("m",))


def test_ten_entries_from_the_environment_keep_the_order_of_their_numbers(place):
    names = [f"p{n}" for n in range(12)]
    environ = {f"HEADGATE_PROVIDERS__{n}": f'{{"name": "{name}", "kind": "ollama"}}' for n, name in enumerate(names)}
    assert [p.name for p in place("{}", **environ).config.providers] == names


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("HEADGATE_SERVER__PROT", "1", "HEADGATE_SERVER__PORT"),
        ("HEADGATE_SERVER__PORT", f"{SECRET}", "whole number"),
        ("HEADGATE_SERVER__PORT__X", "1", "names no setting"),
        ("HEADGATE_PROVIDERS__7__NAME", "x", "sets entry 7 of a list of 1"),
        ("HEADGATE_PROVIDERS__X__NAME", "x", "names no setting"),
        ("HEADGATE_PROVIDERS__0__MODELS", f"[{SECRET}", "is not JSON or YAML"),
        ("HEADGATE_PROVIDERS__0__MODELS", f"{SECRET}\nb: 1", "is not JSON or YAML"),
        ("HEADGATE_PROVIDERS__0__MODELS", SECRET, "is not a list"),
        ("HEADGATE_PROVIDERS__0", f'{{"name": "p", "kind": "{SECRET}"}}', "choices"),
        ("HEADGATE_AUTH", "opne", "Did you mean open?"),
        ("HEADGATE_", "x", None),
        ("HEADGATE___X", "x", "names no setting"),
        ("HEADGATE_NOPE__X", "1", "names no setting"),
        ("HEADGATE_BUDGETS__0__CAP_USD", "5", "not in this version"),
        ("HEADGATE_PROVIDERS__0__MONTHLY_BUDGET_USD", "5", "not in this version"),
    ],
)
def test_a_wrong_override_is_a_finding_with_the_name_of_the_variable(place, findings, name, value, words):
    if words is None:
        place(PROVIDER, **{name: value})
        return
    (finding,) = findings(PROVIDER, **{name: value})
    assert finding.path == name
    assert finding.line is None
    assert words in text_of(finding)
    assert SECRET not in text_of(finding)


def test_names_that_platforms_set_by_themselves_override_nothing(place):
    environ = {
        "HEADGATE_PORT": "tcp://10.0.0.1:4000",
        "HEADGATE_SERVICE_HOST": "10.0.0.1",
        "headgate_server__port": "x",
    }
    assert place(PROVIDER, **environ).config.server.port == 4000


def test_the_command_line_wins_over_the_environment_and_its_faults_carry_its_name(tmp_path):
    environ = {"HEADGATE_HOME": str(tmp_path), "HEADGATE_SERVER__PORT": "4001", "HEADGATE_SERVER__WORKERS": "2"}
    document = parse(b"server: {port: 4000}")
    config = build(document, environ, {"server.port": 4002, "server.workers": None})
    assert (config.server.port, config.server.workers) == (4002, 2)
    with pytest.raises(ConfigError) as caught:
        build(document, environ, {"server.port": 99999, "server.host": "0.0.0.0"})
    assert [one.path for one in caught.value.findings] == ["--port", "auth"]
    with pytest.raises(ConfigError, match="loopback"):
        build(document, environ, {"server.host": "0.0.0.0"})


# Findings


def test_every_finding_comes_at_once_with_its_path_and_line_in_the_order_of_the_file(findings):
    text = """\
server:
  port: 70000
auth: keys
budgets: []
providers:
  - name: a
    kind: nope
  - kind: ollama
    timeouts:
      connect_s: 0
    base_url: ${NOT_SET}
"""
    assert [(one.path, one.line) for one in findings(text, HEADGATE_LOG__X="1")] == [
        ("HEADGATE_LOG__X", None),
        ("server.port", 2),
        ("budgets", 4),
        ("providers[0].kind", 7),
        ("providers[1].name", 8),
        ("providers[1].timeouts.connect_s", 10),
        ("providers[1].base_url", 11),
    ]


def test_a_secret_never_leaves_in_an_error_wherever_it_was_put(place):
    for text in (
        f"providers: [{{name: p, kind: openai, api_key: [{SECRET}]}}]",
        f"providers: [{{name: p, kind: openai, api_key: {{{SECRET}: 1}}}}]",
        f"providers: [{{name: {SECRET}/x, kind: {SECRET}, base_url: {SECRET}, models: {SECRET}, price: {SECRET}}}]",
        f"providers: [{{name: p, kind: openai, {SECRET}: }}]",
        f"providers: {SECRET}",
        f"{SECRET}",
        f"api_key: *{SECRET}",
        f"api_key: !{SECRET} x",
        f"a: &{SECRET} &{SECRET} x",
        f"providers:\n- name: p\n  api_key {SECRET}\n  kind: openai\n",
        f"server: {{admin_key: '${{{SECRET}}}', port: {SECRET}, host: ' {SECRET}'}}",
        f"ledger: {{url: 'postgres://u:{SECRET}@h/d'}}",
        f"auth: '{SECRET}\nserver: 1",
        f"server: {{admin_key: {SECRET}, admin_key: {SECRET}}}",
        "server: {admin_key: '${S} ', port: '${S}'}",
        "providers: [{name: p, kind: openai, api_key: 'Bearer ${S}'}]",
    ):
        with pytest.raises(ConfigError) as caught:
            place(text, S=SECRET)
        said = str(caught.value) + repr(caught.value.findings) + "".join(traceback.format_exception(caught.value))
        said = said.replace(text, "")
        assert SECRET not in said, text
        assert caught.value.__context__ is None, text


def test_names_of_keys_are_shown_unless_they_look_like_a_secret():
    assert shown_key("idle_s") == "idle_s"
    assert shown_key("base-url") == "base-url"
    assert shown_key(SECRET) == "…"
    assert shown_key("a b\n") == "…"
    assert shown_key("x" * 41) == "…"


KEYS = "server ledger auth providers log host port workers url name kind base_url api_key models price paid timeouts"
VALUES = (
    "openai ollama auto free open keys ${X} ${HEADGATE_HOME} $$ ${ http://127.0.0.1:1 sqlite:///x.db <rates> \ud800"
)
WORDS = st.sampled_from(f"{KEYS} {VALUES} budgets dialects capabilities idle_s input_usd_per_mtok".split())
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), WORDS)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.one_of(WORDS, SCALARS), inner, max_size=5),
    max_leaves=25,
)
PROVIDERS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["name", "kind", "base_url", "api_key", "models", "price", "paid", "timeouts"], JUNK)
)
NEAR = st.fixed_dictionaries({}, optional={"server": JUNK, "auth": JUNK, "providers": st.lists(PROVIDERS, max_size=3)})
ENVIRON = st.dictionaries(
    st.sampled_from(
        [
            "HEADGATE_AUTH",
            "HEADGATE_SERVER",
            "HEADGATE_SERVER__PORT",
            "HEADGATE_PROVIDERS__0",
            "HEADGATE_PROVIDERS__0__NAME",
            "HEADGATE_PROVIDERS__0__PRICE__REQUEST_USD",
            "HEADGATE_PROVIDERS__1__MODELS__0",
            "HEADGATE___",
            "HEADGATE_HOME",
            "X",
        ]
    ),
    st.text(st.characters(exclude_characters="\0"), max_size=8),
    max_size=4,
)


@given(values=st.dictionaries(st.one_of(WORDS, SCALARS), JUNK, max_size=5) | NEAR, environ=ENVIRON)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_junk_gives_a_configuration_or_a_config_error(values, environ):
    text = yaml.safe_dump(values, allow_unicode=False)
    with contextlib.suppress(ConfigError):
        build(parse(text.encode()), environ, {})


@given(text=st.binary(max_size=200) | st.text("[]{}:,-&*!|>'\"#%@`\n\t <>ab01.~$", max_size=60).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_a_configuration_or_a_config_error(text):
    with contextlib.suppress(ConfigError):
        build(parse(text), {}, {})
