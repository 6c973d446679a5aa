"""The JSON Schema of headgate.yaml, for editors (yaml-language-server and its like)."""

from __future__ import annotations

from typing import Any

from headgate.config.schema import Config

_REFERENCE = {"type": "string", "pattern": r"\$\{", "description": "A value from the environment, as in ${NAME}."}


def json_schema() -> dict[str, Any]:
    """The schema. `${NAME}` may stand for any bare value; a key with nothing after it counts as left out."""
    schema = Config.model_json_schema()
    for model in (schema, *schema.get("$defs", {}).values()):
        required = model.get("required", [])
        if "properties" in model:
            model["properties"] = {
                key: {"title": key, **_opened(value, nothing=key not in required)}
                for key, value in model["properties"].items()
            }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "headgate.yaml"}


_ABOUT = ("description", "default")


def _opened(schema: dict[str, Any], *, nothing: bool) -> dict[str, Any]:
    about = {key: schema[key] for key in _ABOUT if schema.get(key) is not None and not isinstance(schema[key], dict)}
    rest = {key: value for key, value in schema.items() if key not in (*_ABOUT, "title")}
    if "items" in rest:
        rest["items"] = _opened(rest["items"], nothing=False)
    branches: list[dict[str, Any]] = list(rest.pop("anyOf", [])) or [rest]
    for branch in branches:
        if "items" in branch:
            branch["items"] = _opened(branch["items"], nothing=False)
    if any(_is_bare(branch) for branch in branches):
        branches.append(dict(_REFERENCE))
    if nothing and {"type": "null"} not in branches:
        branches.append({"type": "null"})
    return {**about, **(branches[0] if len(branches) == 1 else {"anyOf": branches})}


def _is_bare(schema: dict[str, Any]) -> bool:
    """Whether a number, truth value or choice may stand here, which a reference would not match by itself."""
    if "oneOf" in schema:
        return any(_is_bare(branch) for branch in schema["oneOf"])
    return schema.get("type") in ("integer", "number", "boolean") or bool({"enum", "const", "pattern"} & set(schema))
