"""The choice of one tool, for engines that can be told in chat only that some tool must be called."""

from __future__ import annotations

from typing import Any

from headgate.wire.translate.shape import wrong
from headgate.wire.translate.upstream import Upstream

Json = dict[str, Any]


def only_the_chosen(sent: Json, upstream: Upstream) -> None:
    """Where one function must be called and the engine would not look at its name, that one alone is offered, and some
    tool must be called. Changes `sent`. Raises Refusal."""
    choice = sent.get("tool_choice")
    if upstream.names_tools or not isinstance(choice, dict) or choice.get("type") != "function":
        return
    chosen = [tool for tool in sent["tools"] if tool.get("function", {}).get("name") == choice["function"]["name"]]
    if not chosen:
        raise wrong("tool_choice", "names no tool that is offered")
    sent["tools"] = chosen
    sent["tool_choice"] = "required"
