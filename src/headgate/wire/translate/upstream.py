"""What a converter must know of the one that is asked: which fields of its dialect it honours.

Two servers of one dialect do not take the same requests. OpenAI's own refuses fields that it does not document, and
its reasoning models the older name of the output limit; the engines take more fields, and know only the older name.
Anthropic's models took sampling parameters and a thinking budget up to one version and refuse them since. What cannot
be asked for is known here from the model's name and the provider's host, as their vendors document it (2026-11).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from urllib.parse import urlsplit

from headgate.wire.dialect import Dialect

MAX_TOKENS = "max_tokens"
MAX_COMPLETION_TOKENS = "max_completion_tokens"

#: What is asked of a target that demands a limit, where the client has set none.
DEFAULT_OUTPUT_TOKENS = 16_384


class Sampling(Enum):
    """Which of temperature, top_p and top_k may be sent."""

    ANY = auto()
    ONE = auto()  # temperature or top_p, not both
    NONE = auto()


class Thinking(Enum):
    """How an upstream that speaks messages is asked to think."""

    BUDGET = auto()  # {"type": "enabled", "budget_tokens": N}
    ADAPTIVE = auto()  # {"type": "adaptive"}, and an effort


@dataclass(frozen=True, slots=True)
class Upstream:
    """target: `provider/model`, for the client to read. model: what is asked for there.

    is_openai: it is OpenAI itself, or Azure: it refuses fields that it does not document, and has some of its own.
    limit_field: the name of the output limit in chat.
    sampling, thinking: see there. efforts: the levels that it knows, weakest first; none where it knows no effort.
    schema_output: whether messages are given a form by `output_config.format`, and not only by a forced tool.
    output_tokens: what to ask for where the dialect demands a limit and the client set none.
    most_output_tokens: the most that it writes where it is asked to think by a budget, the thinking included.
    system_turns: whether messages take a system prompt among the turns, and not only before them.
    is_hub: it is the chat in the middle of two steps, which hands everything on.
    names_tools: whether it can be told in chat which tool must be called, and not only that one must.
    """

    target: str
    model: str
    dialect: Dialect
    is_openai: bool = False
    limit_field: str = MAX_TOKENS
    sampling: Sampling = Sampling.ANY
    thinking: Thinking = Thinking.BUDGET
    efforts: tuple[str, ...] = ()
    schema_output: bool = False
    output_tokens: int = DEFAULT_OUTPUT_TOKENS
    most_output_tokens: int = 64_000
    system_turns: bool = False
    is_hub: bool = False
    names_tools: bool = True

    @property
    def takes_effort(self) -> bool:
        """Whether it may be asked for an effort: OpenAI refuses that to those of its models that do not reason."""
        return bool(self.efforts) and not (self.is_openai and self.sampling is not Sampling.NONE)

    @property
    def takes_none(self) -> bool:
        """Whether it may be asked not to reason (effort `none`). Of OpenAI's own models not all know that level."""
        return (
            self.takes_effort and "none" in self.efforts and (self.is_hub or not _OPENAI_OWN.search(self.model.lower()))
        )

    @property
    def sentence(self) -> str:
        """Who it is, for refusals."""
        return f"{self.target}, which speaks {self.dialect.value}"


_OPENAI_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
#: Engines that obey "required", and not the name of the one tool that must be called.
_NAMELESS = frozenset({"llamacpp", "lmstudio", "ollama", "tgi"})
#: What Ollama, vLLM and their like take.
_COMMON_EFFORTS = ("none", "low", "medium", "high")
_OPENAI_REASONING = re.compile(r"(?:^|[/.])(?:o\d|gpt-[5-9]|gpt-\d\d|codex)")
#: Its models that reason, those that do not, and those that others run.
_OPENAI_OWN = re.compile(r"(?:^|[/.:])(?:o\d|gpt-|chatgpt|codex)")
_CLAUDE = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")


def hub(target: str, model: str, spoken: Dialect = Dialect.CHAT) -> Upstream:
    """The chat in the middle of a translation in two steps: it takes everything, and the second step decides. spoken:
    the target's own dialect, for the client to read."""
    return Upstream(
        target,
        model,
        spoken,
        efforts=_OPENAI_EFFORTS,
        limit_field=MAX_COMPLETION_TOKENS,
        schema_output=True,
        is_hub=True,
    )


@lru_cache(maxsize=4096)
def describe(target: str, model: str, dialect: Dialect, base_url: str, kind: str = "openai") -> Upstream:
    """What is known of this model at this address. kind: the provider's."""
    if dialect is Dialect.MESSAGES:
        return _messages(target, model)
    host = urlsplit(base_url).hostname or ""
    is_openai = host == "api.openai.com" or host.endswith(".openai.azure.com")
    reasons = _OPENAI_REASONING.search(model.lower()) is not None
    return Upstream(
        target,
        model,
        dialect,
        is_openai=is_openai,
        limit_field=MAX_COMPLETION_TOKENS if is_openai or reasons else MAX_TOKENS,
        sampling=Sampling.NONE if reasons else Sampling.ANY,
        efforts=_OPENAI_EFFORTS if is_openai or reasons or dialect is Dialect.RESPONSES else _COMMON_EFFORTS,
        names_tools=kind not in _NAMELESS,
    )


def _messages(target: str, model: str) -> Upstream:
    name = model.lower()
    if "claude" not in name:  # another vendor's model behind Anthropic's interface
        return Upstream(target, model, Dialect.MESSAGES)
    found = _CLAUDE.search(name)
    # A name without a version is one that is newer than this list.
    version = (int(found[1]), int(found[2] or 0)) if found else (99, 0)
    if version >= (4, 7):
        return Upstream(
            target,
            model,
            Dialect.MESSAGES,
            sampling=Sampling.NONE,
            thinking=Thinking.ADAPTIVE,
            efforts=("low", "medium", "high", "xhigh", "max"),
            schema_output=True,
            system_turns=version >= (4, 8),
        )
    if version == (4, 6):
        return Upstream(
            target,
            model,
            Dialect.MESSAGES,
            sampling=Sampling.ONE,
            thinking=Thinking.ADAPTIVE,
            efforts=("low", "medium", "high", "max"),
            schema_output=True,
        )
    return Upstream(
        target,
        model,
        Dialect.MESSAGES,
        sampling=Sampling.ONE if version >= (4, 1) else Sampling.ANY,
        efforts=("low", "medium", "high") if version == (4, 5) and "opus" in name else (),
        schema_output=version >= (4, 5) or (version == (4, 1) and "opus" in name),
        output_tokens=_LEGACY_OUTPUT_TOKENS.get(version, 4096) if version < (3, 7) else DEFAULT_OUTPUT_TOKENS,
        most_output_tokens=32_000 if version < (4, 5) and "opus" in name else 64_000,
    )


#: The most that these models write.
_LEGACY_OUTPUT_TOKENS = {(3, 5): 8192}
