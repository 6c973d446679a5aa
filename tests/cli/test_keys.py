"""`headgate keys`, as a person types it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headgate.access.keys import Key, KeyRing
from headgate.access.store import KeyStore
from headgate.cli.keys import keys_app
from headgate.ledger.database import open_ledger


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no configuration, where headgate never ran."""
    for name in ("HEADGATE_CONFIG", "HEADGATE_LEDGER__URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEADGATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def keys(*arguments: str) -> Any:
    result = CliRunner().invoke(keys_app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def _json(*arguments: str) -> Any:
    result = keys(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def _ring(url: str) -> KeyRing:
    async def load() -> KeyRing:
        ledger = await open_ledger(url)
        try:
            return KeyRing((await KeyStore(ledger).load())[1])
        finally:
            await ledger.close()

    return asyncio.run(load())


# --- create


def test_a_secret_that_was_shown_opens_the_gateway(home: Path) -> None:
    result = keys("create", "alice", "--team", "research")
    assert result.exit_code == 0
    secrets = [word for word in result.stdout.split() if word.startswith("hg-") and len(word) == 46]
    assert len(secrets) == 1
    found = _ring(f"sqlite:///{home}/ledger.db").find(secrets[0], time.time())
    assert isinstance(found, Key)
    assert (found.name, found.team) == ("alice", "research")
    assert found.id in result.stdout


def test_what_is_printed_says_how_to_use_the_key_and_that_it_is_shown_once() -> None:
    said = keys("create", "alice").stdout
    assert "not shown again" in said
    assert "Authorization: Bearer" in said
    assert "auth: keys" in said


def test_every_option_is_stored() -> None:
    before = time.time()
    made = _json(
        "create", "alice", "--team", "r", "--models", "local/*", "--models", "gpt-*",
        "--rpm", "60", "--tpm", "5000", "--expires", "30d",
    )  # fmt: skip
    assert made["secret"].startswith("hg-")
    del made["secret"]
    assert (made["name"], made["team"], made["models"]) == ("alice", "r", ["local/*", "gpt-*"])
    assert (made["rpm"], made["tpm"], made["revoked_at"], made["state"]) == (60, 5000, None, "active")
    expected = time.strftime("%Y-%m-%d", time.gmtime(before + 30 * 86_400))
    assert made["expires_at"].startswith(expected)
    assert made["expires_at"].endswith("Z")
    assert _json("list") == [made]


def test_models_takes_several_globs_at_once() -> None:
    assert _json("create", "alice", "--models", "a", "b", "c/*")["models"] == ["a", "b", "c/*"]


def test_a_key_with_no_options_is_free_of_limits() -> None:
    made = _json("create", "alice")
    assert (made["team"], made["models"], made["rpm"], made["tpm"], made["expires_at"]) == (None, [], None, None, None)


def _seconds(written: str) -> int:
    made = _json("create", "x", "--expires", written)
    at = [time.mktime(time.strptime(made[field], "%Y-%m-%dT%H:%M:%SZ")) for field in ("created_at", "expires_at")]
    return int(at[1] - at[0])


def test_a_time_to_expire_has_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        assert [_seconds(written) for written in ("90m", "12h", "30d", "2w", "1D")] == [
            5_400,
            43_200,
            2_592_000,
            1_209_600,
            86_400,
        ]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "arguments",
    [
        ["create"],
        ["create", "two", "words"],
        ["create", ""],
        ["create", "  "],
        ["create", "tab\there"],
        ["create", "x" * 201],
        ["create", "x", "--team", ""],
        ["create", "x", "--rpm", "0"],
        ["create", "x", "--tpm", "-5"],
        ["create", "x", "--rpm", "many"],
        ["create", "x", "--models", ""],
        ["create", "x", "--expires", "30"],
        ["create", "x", "--expires", "0d"],
        ["create", "x", "--expires", "-3d"],
        ["create", "x", "--expires", "3 months"],
        ["create", "x", "--expires", "999999999w"],
        ["create", "x", "--cap-usd", "5"],
        ["list", "extra"],
        ["revoke"],
        ["revoke", "a", "b"],
        ["unknown"],
    ],
)
def test_wrong_usage_is_two_and_stores_nothing(arguments: list[str]) -> None:
    assert keys(*arguments).exit_code == 2
    assert _json("list") == []


# --- list


def test_an_empty_list_says_how_to_make_a_key() -> None:
    result = keys("list")
    assert result.exit_code == 0
    assert "headgate keys create NAME" in result.stdout


def test_a_list_for_other_programs_is_a_line_of_fields_for_each_key() -> None:
    made = _json("create", "alice", "--models", "local/*", "b", "--rpm", "5")
    revoked = _json("create", "bob", "--team", "[red]")
    keys("revoke", revoked["id"])
    head, *rows = [line.split("\t") for line in keys("list").stdout.splitlines()]
    assert head == ["ID", "NAME", "TEAM", "MODELS", "RPM", "TPM", "CREATED", "EXPIRES", "STATE"]
    assert {row[0]: row[1:6] + row[7:] for row in rows} == {
        made["id"]: ["alice", "-", "local/* b", "5", "-", "never", "active"],
        revoked["id"]: ["bob", "[red]", "all", "-", "-", "never", "revoked"],
    }


def test_a_list_on_a_terminal_is_a_table_that_keeps_ids_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = _json("create", "alice", "--team", "[red]", "--models", "a-rather-long-provider/*", "--expires", "30d")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    keys_app(["list"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert made["id"] in shown
    assert "[red]" in shown
    assert "active" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_no_list_shows_a_secret() -> None:
    secret = _json("create", "alice")["secret"]
    assert secret not in keys("list").stdout
    assert secret not in keys("list", "--json").stdout


def test_an_expired_key_is_listed_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    _json("create", "alice", "--expires", "1h")
    later = time.time() + 3601
    monkeypatch.setattr("headgate.clock.wall_s", lambda: later)
    assert _json("list")[0]["state"] == "expired"


# --- revoke


def test_a_revoked_key_opens_nothing(home: Path) -> None:
    made = _json("create", "alice")
    result = keys("revoke", made["id"])
    assert result.exit_code == 0
    assert "within a second" in result.stdout
    assert not isinstance(_ring(f"sqlite:///{home}/ledger.db").find(made["secret"], time.time()), Key)


def test_revoking_twice_changes_nothing_and_says_so() -> None:
    key_id = _json("create", "alice")["id"]
    first = _json("revoke", key_id)
    second = _json("revoke", key_id)
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["revoked_at"] == second["revoked_at"]
    assert first["state"] == "revoked"
    result = keys("revoke", key_id)
    assert result.exit_code == 0
    assert "already revoked at" in result.stdout


def test_an_unknown_id_is_one_and_names_what_was_meant() -> None:
    key_id = _json("create", "alice")["id"]
    for written in ("Alice", key_id[:-1], key_id.replace("key_", "")):
        result = keys("revoke", written)
        assert result.exit_code == 1
        assert f"Did you mean {key_id} (alice)?" in result.stderr
        assert result.stdout == ""
    assert _json("list")[0]["state"] == "active"


def test_an_id_like_no_other_points_to_the_list() -> None:
    result = keys("revoke", "zzz")
    assert result.exit_code == 1
    assert "There is no key zzz. `headgate keys list`" in result.stderr


# --- where the ledger is


def test_the_ledger_is_the_one_that_the_configuration_names(tmp_path: Path, home: Path) -> None:
    (tmp_path / "headgate.yaml").write_text(f"ledger: {{url: 'sqlite:///{tmp_path}/other/l.db'}}\n")
    result = keys("create", "alice", "--config", str(tmp_path / "headgate.yaml"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "other" / "l.db").is_file()
    assert not home.exists()


def test_a_configuration_that_is_not_there_is_one_with_its_path(tmp_path: Path) -> None:
    result = keys("list", "--config", str(tmp_path / "none.yaml"))
    assert result.exit_code == 1
    assert str(tmp_path / "none.yaml") in result.stderr


def test_a_ledger_that_cannot_be_opened_is_one_with_what_to_do(home: Path) -> None:
    home.write_text("in the way")
    for arguments in (["list"], ["create", "alice"], ["revoke", "key_1"], ["list", "--json"]):
        result = keys(*arguments)
        assert result.exit_code == 1
        assert f"{home} is not a directory" in result.stderr
        assert result.stdout == ""


@pytest.mark.parametrize("command", ["create", "list", "revoke"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = keys(command, "--help")
    assert result.exit_code == 0
    assert f"headgate keys {command}" in result.stdout
