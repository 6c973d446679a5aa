"""The house's own measures, as a test: no file and no function grows past what one can hold in mind."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "headgate"
MOST_LINES_OF_A_FILE = 600
MOST_LINES_OF_A_FUNCTION = 70


def test_no_file_is_too_long():
    long = {str(p): n for p in SOURCE.rglob("*.py") if (n := p.read_text().count("\n")) > MOST_LINES_OF_A_FILE}
    assert not long


def test_no_function_is_too_long():
    long = [
        f"{path}:{node.lineno} {node.name}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MOST_LINES_OF_A_FUNCTION
    ]
    assert not long
