"""`headgate check`, as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from headgate.cli.check import check

VALID = "auth: keys\nproviders:\n- {name: a, kind: ollama}\n- {name: b, kind: vllm}\n- {name: c, kind: tgi}\n"
BROKEN = "server:\n  prot: 1\nbudgets: []\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`run("--json", text=…)` writes the text to ./headgate.yaml and gives (exit status, output)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADGATE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HEADGATE_CONFIG", raising=False)
    app = typer.Typer()
    app.command()(check)

    def ran(*arguments: str, text: str | None = None) -> tuple[int, str]:
        if text is not None:
            (tmp_path / "headgate.yaml").write_text(text)
        result = CliRunner().invoke(app, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.output

    return ran


def test_a_valid_file_is_said_to_be_so_in_one_line(run):
    assert run(text=VALID) == (0, "headgate.yaml is valid: 3 providers, auth keys\n")
    assert run(text="providers: [{name: a, kind: tgi}]")[1] == "headgate.yaml is valid: 1 provider, auth open\n"


def test_every_finding_is_shown_with_its_line_and_a_fix(run):
    status, output = run(text=BROKEN)
    assert status == 1
    lines = output.splitlines()
    assert lines[0] == "headgate.yaml is not valid: 2 findings"
    assert lines[1].startswith("server.prot (line 2): is not a known setting")
    assert lines[2] == "  fix: Did you mean `port`?"
    assert lines[3].startswith("budgets (line 3): is not in this version of headgate yet")


def test_json_holds_the_verdict_the_path_and_the_findings(run, tmp_path):
    status, output = run("--json", text=BROKEN)
    said = json.loads(output)
    assert status == 1
    assert (said["valid"], said["path"]) == (False, str(tmp_path / "headgate.yaml"))
    assert [(one["path"], one["line"]) for one in said["findings"]] == [("server.prot", 2), ("budgets", 3)]
    assert all(one["problem"] and one["fix"] for one in said["findings"])
    status, output = run("--json", text=VALID)
    assert status == 0
    assert json.loads(output) == {"valid": True, "path": str(tmp_path / "headgate.yaml"), "findings": []}


def test_no_file_at_all_is_a_finding_that_says_where_to_write_one(run):
    status, output = run()
    assert status == 1
    assert "--config" in output
    assert json.loads(run("--json")[1])["path"] is None


def test_a_file_that_is_named_is_the_one_that_is_checked(run, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(BROKEN)
    status, output = run("--config", str(other), text=VALID)
    assert status == 1
    assert output.startswith("other.yaml is not valid")
    assert run("--config", str(tmp_path / "nope.yaml"))[0] == 1


def test_the_environment_is_checked_along_with_the_file(run, monkeypatch):
    monkeypatch.setenv("HEADGATE_SERVER__PORT", "x")
    status, output = run(text=VALID)
    assert status == 1
    assert "HEADGATE_SERVER__PORT: is not a whole number" in output


def test_the_schema_is_json_and_needs_no_file(run):
    status, output = run("--schema")
    assert status == 0
    assert set(json.loads(output)["properties"]) == {"server", "ledger", "auth", "providers", "log"}


def test_the_help_shows_an_example_and_a_wrong_option_is_wrong_usage(run):
    status, output = run("--help")
    assert status == 0
    assert "headgate check --config" in output
    assert run("--nope")[0] == 2


def test_the_command_itself_imports_nothing_heavy():
    script = (
        "import sys, headgate.cli.check; print([m for m in ('pydantic', 'yaml', 'sqlalchemy') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert output.stdout == "[]\n"


def test_the_schema_imports_no_server_and_no_database():
    heavy = "('sqlalchemy', 'starlette', 'uvicorn', 'asyncio', 'rich', 'yaml')"
    script = f"import sys, headgate.config.schema; print([m for m in {heavy} if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert output.stdout == "[]\n"
