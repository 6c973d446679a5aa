"""The one table of what translation does with each field: carried, dropped or refused. `docs/translation.md` is made
from it (`python -m headgate.wire.translate.fields_page`).

*Carried*: the upstream is asked for the same thing in its own words. *Honoured here*: headgate does it, and the
upstream need not know. *Dropped*: the upstream is not told, the answer's meaning stays, and the client reads the
field's name in `x-headgate-dropped`. *Refused*: without it the answer would be another one, so the request is refused
and the field named. A field that has no row is refused too.

A row's name is a path in the client's dialect. After a colon stands the `type` of a part, a tool or an item:
`messages[].content[]:input_audio`. `idle` holds the values that ask for nothing; they, and null, are passed over
silently. A row that is carried to some upstreams only says so in its note, and its converter decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from headgate.wire.dialect import Dialect


class Fate(StrEnum):
    CARRIED = "carried"
    HERE = "honoured here"
    DROPPED = "dropped"
    REFUSED = "refused"


class Row(NamedTuple):
    """note: what it becomes, or why it does not; for a refusal, the rest of the sentence that begins with its name."""

    fate: Fate
    note: str
    idle: tuple[Any, ...] = ()


def carried(note: str = "") -> Row:
    return Row(Fate.CARRIED, note)


def here(note: str) -> Row:
    return Row(Fate.HERE, note)


def dropped(note: str, *idle: Any) -> Row:
    return Row(Fate.DROPPED, note, idle)


def refused(note: str, *idle: Any) -> Row:
    return Row(Fate.REFUSED, note, idle)


Rows = Mapping[str, Row]


_ONE_ANSWER = "it gives one answer to a request"
_SERVER_SIDE = "it is run by its vendor's servers"
_NO_AUDIO = "it has no audio"
_VENDOR_TOOL = "it is a tool of its vendor, which other models do not know"
_HINT = "a hint for speed or storage, which does not change the answer"
_SAMPLING = "a preference in sampling that it does not have"

#: Sampling parameters of local engines, which programs send to everything.
_ENGINE_SAMPLING = {
    name: dropped(_SAMPLING)
    for name in ("min_p", "typical_p", "repetition_penalty", "repeat_penalty", "tfs_z", "mirostat", "top_a")
}

CHAT_TO_MESSAGES: Rows = {
    "model": carried(),
    "messages": carried(
        "`system` and `developer` messages become `system`; those among the turns keep their place, after the user's "
        "words, where the model takes them there (Claude since 4.8)"
    ),
    "messages[].content[]:text": carried(),
    "messages[].content[]:image_url": carried("by URL, or base64 in a data URL"),
    "messages[].content[].image_url.detail": dropped("messages has one way to look at an image", "auto"),
    "messages[].content[]:file": carried("PDF or text in a data URL; becomes a `document`"),
    "messages[].content[].file.file_id": refused("the file lies with another vendor"),
    "messages[].content[]:refusal": carried("becomes text"),
    "messages[].content[]:input_audio": refused(_NO_AUDIO),
    "messages[].content[].cache_control": carried(),
    "messages[].content[].prompt_cache_breakpoint": dropped(_HINT),
    "messages[].cache_control": carried("onto its last block"),
    "messages[].annotations": dropped("an assistant's words go back without their citations", []),
    "messages[].parsed": dropped("what a program read from the words"),
    "messages[].provider_specific_fields": dropped("another program's notes", {}),
    "messages[].name": dropped("messages has no names of participants", ""),
    "messages[].refusal": carried("becomes text"),
    "messages[].reasoning_content": carried("where `reasoning_details` hold its signature; else dropped"),
    "messages[].reasoning": carried("another name of `reasoning_content`"),
    "messages[].reasoning_details": carried("thinking that this vendor signed goes back to it"),
    "messages[].tool_calls": carried("arguments that are not the JSON of an object are refused"),
    "messages[].tool_calls[]:custom": refused("it has no tools of type `custom`"),
    "messages[].tool_calls[].index": dropped("left over from a stream"),
    "messages[].tool_calls[].extra_content": dropped("another vendor's notes", {}),
    "messages[].tool_calls[].function.parsed_arguments": dropped("what a program read from the arguments"),
    "messages[].function_call": refused("use `tool_calls`"),
    "messages[]:function": refused("use messages of role `tool`"),
    "messages[].audio": refused(_NO_AUDIO),
    "max_tokens": carried("without one, 16,384 is sent or the most that the model writes, since messages demands one"),
    "max_completion_tokens": carried("becomes `max_tokens`"),
    "stream": carried(),
    "stream_options": carried("`include_usage`"),
    "stream_options.include_obfuscation": dropped("headgate's streams have no padding", False),
    "stream_options.continuous_usage_stats": dropped("the usage comes once, at the end", False),
    "temperature": carried(
        "above 1 it becomes 1, and is named as dropped; dropped for models that take none, and beside thinking"
    ),
    "top_p": carried("dropped for models that take none, or not beside `temperature`, and below 0.95 beside thinking"),
    "top_k": carried("dropped for models that take none, and beside thinking"),
    "stop": carried("becomes `stop_sequences`; one of white space alone is refused"),
    "tools": carried("without them, those that were called before are told, and may not be called"),
    "tools[].cache_control": carried(),
    "tools[].function.strict": carried("dropped where the model has no strict tools, or none of this schema"),
    "tools[].function.parameters": carried(
        "in a strict tool limits of numbers and lengths go into descriptions, and then it is named as dropped"
    ),
    "tools[]:custom": refused("it has no tools of type `custom`"),
    "tool_choice": carried("without `tools` it is left out"),
    "tool_choice:allowed_tools": refused("it cannot choose among some of its tools"),
    "tool_choice:custom": refused("it has no tools of type `custom`"),
    "parallel_tool_calls": carried("false becomes `disable_parallel_tool_use`"),
    "response_format": carried(
        "becomes `output_config.format`, or a tool that must be called where the model has no such form, or none of "
        "this schema; beside a tool of the client that must be called it is left to a later turn"
    ),
    "response_format.json_schema.schema": carried(
        "objects are closed; limits of numbers and lengths go into descriptions, and then it is named as dropped"
    ),
    "response_format.json_schema.strict": carried("the form is always kept as strictly as the model can"),
    "reasoning_effort": carried(
        "becomes `output_config.effort`, or `thinking` with a budget, by the model; thinking is dropped beside a tool "
        "that must be called, and a budget for a limit of 1,024 or for a turn that went on without thinking"
    ),
    "thinking": carried("as it is; dropped beside a tool that must be called"),
    "user": carried("becomes `metadata.user_id`, a digest where it is above 256 characters"),
    "safety_identifier": carried("becomes `metadata.user_id`, before `user`, which is dropped then"),
    "n": refused(_ONE_ANSWER, 1),
    "logprobs": refused("it tells no probabilities", False),
    "top_logprobs": refused("it tells no probabilities", 0),
    "logit_bias": refused("it has no bias on tokens", {}),
    "functions": refused("use `tools`", []),
    "function_call": refused("use `tool_choice`", "none"),
    "modalities": refused(_NO_AUDIO, ["text"]),
    "audio": refused(_NO_AUDIO),
    "web_search_options": refused(_SERVER_SIDE),
    "moderation": refused(_SERVER_SIDE),
    "seed": dropped(_SAMPLING),
    "frequency_penalty": dropped(_SAMPLING, 0, 0.0),
    "presence_penalty": dropped(_SAMPLING, 0, 0.0),
    "prediction": dropped(_HINT),
    "metadata": dropped("labels for the vendor's storage", {}),
    "store": dropped(_HINT, False),
    "service_tier": dropped(_HINT, "auto", "default"),
    "verbosity": dropped("a preference in style", "medium"),
    "prompt_cache_key": dropped(_HINT),
    "prompt_cache_options": dropped(_HINT),
    "prompt_cache_retention": dropped(_HINT),
    **_ENGINE_SAMPLING,
}

_ANTHROPIC_SERVER_TOOLS = (
    *("web_search_20250305", "web_search_20260209", "web_search_20260318", "advisor_20260301", "mcp_toolset"),
    *("web_fetch_20250910", "web_fetch_20260209", "web_fetch_20260309", "web_fetch_20260318"),
    *("code_execution_20250522", "code_execution_20250825", "code_execution_20260120", "code_execution_20260521"),
    *("tool_search_tool_bm25", "tool_search_tool_bm25_20251119"),
    *("tool_search_tool_regex", "tool_search_tool_regex_20251119"),
)
_ANTHROPIC_CLIENT_TOOLS = (
    *("bash_20241022", "bash_20250124", "memory_20250818", "browser_toolset_20260801", "computer_toolset_20260801"),
    *("computer_20241022", "computer_20250124", "computer_20251124"),
    *("text_editor_20241022", "text_editor_20250124", "text_editor_20250429", "text_editor_20250728"),
)

MESSAGES_TO_CHAT: Rows = {
    "model": carried(),
    "messages": carried(),
    "messages[].content[]:text": carried(),
    "messages[].content[]:image": carried("by URL or base64"),
    "messages[].content[]:document": carried("PDF in base64 becomes a `file`; text becomes text"),
    "messages[].content[]:search_result": carried("becomes text"),
    "messages[].content[]:thinking": carried(
        "becomes `reasoning_content`; dropped where the upstream refuses it (OpenAI itself)"
    ),
    "messages[].content[]:redacted_thinking": dropped("only the vendor that wrote it can read it"),
    "messages[].content[]:tool_use": carried(),
    "messages[].content[]:tool_result": carried(
        "its images and files follow in a message of the user; an error is marked in text"
    ),
    **{
        f"messages[].content[]:{kind}": refused(_SERVER_SIDE)
        for kind in (
            "server_tool_use",
            "web_search_tool_result",
            "web_fetch_tool_result",
            "code_execution_tool_result",
            "bash_code_execution_tool_result",
            "text_editor_code_execution_tool_result",
            "tool_search_tool_result",
            "mcp_tool_use",
            "mcp_tool_result",
            "container_upload",
        )
    },
    "messages[].content[].content[]:tool_reference": refused("it has no search for tools"),
    "messages[].content[].content[]:browser_state": refused(_VENDOR_TOOL),
    "messages[].content[]:image.source:file": refused("the file lies with another vendor"),
    "messages[].content[]:document.source:file": refused("the file lies with another vendor"),
    "messages[].content[]:document.source:url": refused("it takes no documents by URL"),
    "messages[].content[].cache_control": dropped(_HINT),
    "messages[].content[].citations": dropped("chat has no citations of documents", {"enabled": False}, []),
    "messages[].content[].transformations": dropped("says how its vendor scales an image", {}),
    "messages[].content[].caller": dropped("says which of its vendor's tools made the call", {"type": "direct"}),
    "messages[].content[].toolset_name": refused(_VENDOR_TOOL),
    "system": carried(
        "becomes the first message; prompts at the beginning are joined into one, but not for OpenAI itself"
    ),
    "system[].cache_control": dropped(_HINT),
    "system[].citations": dropped("chat has no citations of documents", []),
    "max_tokens": carried("`max_completion_tokens` where the upstream honours only that"),
    "stream": carried(),
    "stop_sequences": carried("becomes `stop`; OpenAI itself takes four at most"),
    "temperature": carried("not sent to OpenAI's reasoning models, and then dropped"),
    "top_p": carried("not sent to OpenAI's reasoning models, and then dropped"),
    "top_k": carried("dropped where the upstream refuses it (OpenAI itself, and its reasoning models)"),
    "tools": carried(),
    **{f"tools[]:{kind}": refused(_SERVER_SIDE) for kind in _ANTHROPIC_SERVER_TOOLS},
    **{f"tools[]:{kind}": refused(_VENDOR_TOOL) for kind in _ANTHROPIC_CLIENT_TOOLS},
    "tools[].cache_control": dropped(_HINT),
    "tools[].defer_loading": dropped("it has no search for tools: all are offered at once", False),
    "tools[].allowed_callers": dropped("it has no tools that call others", ["direct"]),
    "tools[].input_examples": dropped("chat has no examples of a tool's input", []),
    "tools[].eager_input_streaming": dropped(_HINT, False),
    "tool_choice": carried("`disable_parallel_tool_use` becomes `parallel_tool_calls`"),
    "thinking": carried(
        "its budget becomes `reasoning_effort`, and where it is disabled the effort `none`, but not for OpenAI's own "
        "models; dropped where a model of OpenAI does not reason"
    ),
    "thinking.display": dropped("what was thought is shown as the upstream shows it", "summarized"),
    "thinking.block_binding": dropped("no thinking is checked against the conversation", {}),
    "output_config": carried("`effort` becomes `reasoning_effort`, `format` `response_format`"),
    "output_config.effort": carried(
        "dropped where a model of OpenAI does not reason, and where `thinking` is disabled"
    ),
    "output_config.task_budget": dropped("a hint for the pace of work"),
    "output_format": carried("becomes `response_format`; refused beside another `output_config.format`"),
    "metadata": carried("`user_id` becomes `user`; OpenAI itself is sent a digest of one above 64 characters"),
    "metadata.*": dropped("labels for the vendor"),
    "container": refused(_SERVER_SIDE),
    "mcp_servers": refused(_SERVER_SIDE, []),
    "inference_geo": refused("it cannot be told where to compute"),
    "cache_control": dropped(_HINT),
    "context_management": dropped("edits of the conversation on the vendor's side"),
    "diagnostics": dropped(_HINT),
    "service_tier": dropped(_HINT, "auto", "standard_only"),
    "speed": dropped(_HINT, "standard"),
    "user_profile_id": dropped("names an account at another vendor"),
    "workspace_id": dropped("names an account at another vendor"),
}

CHAT_TO_RESPONSES: Rows = {
    "model": carried(),
    "messages": carried("becomes `input`"),
    "messages[].content[]:text": carried(),
    "messages[].content[]:image_url": carried(),
    "messages[].content[]:file": carried("in a data URL"),
    "messages[].content[].file.file_id": carried("to OpenAI itself, where the file lies; refused elsewhere"),
    "messages[].content[]:refusal": carried("becomes text"),
    "messages[].content[]:input_audio": refused(_NO_AUDIO),
    "messages[].content[].cache_control": dropped(_HINT),
    "messages[].content[].prompt_cache_breakpoint": carried(
        "dropped from an assistant's words, which go as one string"
    ),
    "messages[].cache_control": dropped(_HINT),
    "messages[].annotations": dropped("an assistant's words go back without their citations", []),
    "messages[].parsed": dropped("what a program read from the words"),
    "messages[].provider_specific_fields": dropped("another program's notes", {}),
    "messages[].name": dropped("responses has no names of participants"),
    "messages[].refusal": carried("becomes text"),
    "messages[].reasoning_content": carried("where `reasoning_details` hold the vendor's own form; else dropped"),
    "messages[].reasoning": carried("another name of `reasoning_content`"),
    "messages[].reasoning_details": carried("reasoning that this vendor encrypted goes back to it"),
    "messages[].tool_calls": carried("arguments that are not the JSON of an object are refused"),
    "messages[].tool_calls[]:custom": carried(),
    "messages[].tool_calls[].index": dropped("left over from a stream"),
    "messages[].tool_calls[].extra_content": dropped("another vendor's notes"),
    "messages[].tool_calls[].function.parsed_arguments": dropped("what a program read from the arguments"),
    "messages[].function_call": refused("use `tool_calls`"),
    "messages[]:function": refused("use messages of role `tool`"),
    "messages[].audio": refused(_NO_AUDIO),
    "max_tokens": carried("becomes `max_output_tokens`, 16 at least"),
    "max_completion_tokens": carried("becomes `max_output_tokens`, 16 at least"),
    "stream": carried(),
    "stream_options": carried("`include_usage`"),
    "stream_options.include_obfuscation": carried("false only; the padding ends at headgate"),
    "stream_options.continuous_usage_stats": dropped("the usage comes once, at the end", False),
    "temperature": carried("not sent to OpenAI's reasoning models, and then dropped"),
    "top_p": carried("not sent to OpenAI's reasoning models, and then dropped"),
    "logprobs": carried("becomes `include`"),
    "top_logprobs": carried(),
    "tools": carried(),
    "tools[].cache_control": dropped(_HINT),
    "tools[]:custom": carried(),
    "tool_choice": carried("without `tools` it is left out"),
    "tool_choice:allowed_tools": carried(),
    "tool_choice:custom": carried(),
    "parallel_tool_calls": carried("without `tools` it is left out"),
    "response_format": carried("becomes `text.format`"),
    "verbosity": carried("becomes `text.verbosity`"),
    "reasoning_effort": carried("becomes `reasoning.effort`; dropped for OpenAI's models that do not reason"),
    "metadata": carried(),
    "user": carried(),
    "safety_identifier": carried(),
    "service_tier": carried(),
    "prompt_cache_key": carried(),
    "prompt_cache_options": carried(),
    "prompt_cache_retention": carried(),
    "moderation": carried(),
    "n": refused(_ONE_ANSWER, 1),
    "stop": refused("it has no stop sequences", []),
    "logit_bias": refused("it has no bias on tokens", {}),
    "functions": refused("use `tools`", []),
    "function_call": refused("use `tool_choice`", "none"),
    "modalities": refused(_NO_AUDIO, ["text"]),
    "audio": refused(_NO_AUDIO),
    "web_search_options": refused(_SERVER_SIDE),
    "seed": dropped(_SAMPLING),
    "frequency_penalty": dropped(_SAMPLING, 0, 0.0),
    "presence_penalty": dropped(_SAMPLING, 0, 0.0),
    "top_k": dropped(_SAMPLING),
    "prediction": dropped(_HINT),
    "store": dropped("nothing is stored: every request upstream says `store: false`", False),
    "thinking": dropped("use `reasoning_effort`"),
    **_ENGINE_SAMPLING,
}

_STORED = "headgate's responses are stateless, and nothing is stored: send the whole conversation in `input`"

_AT_ONCE = "chat says its tools and settings once, for the whole conversation"
_COMPACTED = "only its vendor can read or make what is compacted"
_HOSTED_TOOLS = (
    *("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11", "file_search"),
    *("code_interpreter", "image_generation", "mcp", "tool_search", "programmatic_tool_calling"),
)
_HOSTED_ITEMS = (
    *("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_list_tools"),
    *("mcp_approval_request", "mcp_approval_response", "mcp_call", "tool_search_call", "tool_search_output"),
    *("program", "program_output"),
)
_VENDOR_TOOLS = ("computer", "computer_use", "computer_use_preview", "local_shell", "shell", "apply_patch")
_VENDOR_ITEMS = (
    *("computer_call", "computer_call_output", "local_shell_call", "local_shell_call_output", "shell_call"),
    *("shell_call_output", "apply_patch_call", "apply_patch_call_output"),
)
_OF_HOSTED = (
    *("file_search_call.results", "web_search_call.results", "web_search_call.action.sources"),
    *("computer_call_output.output.image_url", "code_interpreter_call.outputs"),
)

RESPONSES_TO_CHAT: Rows = {
    "model": carried(),
    "input": carried("becomes `messages`"),
    "input[]:message": carried(),
    "input[]:function_call": carried("arguments that are not the JSON of an object are refused"),
    "input[]:function_call.namespace": carried("as part of the function's name"),
    "input[]:function_call_output": carried("its images follow in a message of the user"),
    "input[]:reasoning": carried("becomes `reasoning_content` and `reasoning_details`, where the upstream takes them"),
    "input[]:custom_tool_call": carried("to OpenAI itself; refused elsewhere"),
    "input[]:custom_tool_call_output": carried("to OpenAI itself; refused elsewhere"),
    "input[]:item_reference": refused(_STORED),
    **{f"input[]:{kind}": refused(_SERVER_SIDE) for kind in _HOSTED_ITEMS},
    **{f"input[]:{kind}": refused(_VENDOR_TOOL) for kind in _VENDOR_ITEMS},
    **{f"input[]:{kind}": refused(_AT_ONCE) for kind in ("additional_tools", "configuration_update")},
    **{f"input[]:{kind}": refused(_COMPACTED) for kind in ("compaction", "compaction_trigger")},
    "input[].phase": dropped("chat does not tell the kinds of an assistant's messages apart"),
    "input[].caller": dropped("in chat only the model calls tools", {"type": "direct"}),
    "input[].async": dropped("in chat every call is answered before the next turn", False),
    "input[].internal_chat_message_metadata_passthrough": dropped("a coding agent's own notes on its turns", {}),
    "input[].parsed_arguments": dropped("what a program read from the arguments"),
    "input[].content[]:input_text": carried(),
    "input[].content[]:output_text": carried(),
    "input[].content[]:refusal": carried(),
    "input[].content[]:input_image": carried("by URL, or base64 in a data URL"),
    "input[].content[]:input_file": carried("PDF in a data URL; becomes a `file`"),
    "input[].content[].file_id": refused("the file lies with another vendor"),
    "input[].content[].file_url": refused("chat has no files by URL"),
    "input[].content[]:input_audio": refused(_NO_AUDIO),
    "input[].content[].detail": dropped("of a file; chat has it for images only", "auto"),
    "input[].content[].prompt_cache_breakpoint": dropped(_HINT),
    "input[].content[].parsed": dropped("what a program read from the words"),
    "instructions": carried("becomes the first message"),
    "max_output_tokens": carried("becomes `max_tokens`, or `max_completion_tokens` where only that is honoured"),
    "stream": carried(),
    "stream_options": here("the answer is the same whatever it says"),
    "stream_options.include_obfuscation": here("headgate's streams have no padding"),
    "stream_options.include_usage": here("a response always tells its usage"),
    "temperature": carried("not sent to OpenAI's reasoning models, and then dropped"),
    "top_p": carried("not sent to OpenAI's reasoning models, and then dropped"),
    "top_logprobs": carried(),
    "tools": carried(),
    "tools[]:custom": carried("to OpenAI itself; refused elsewhere"),
    "tools[]:namespace": carried("its functions, each under the name `namespace__function`"),
    **{f"tools[]:{kind}": refused(_SERVER_SIDE) for kind in _HOSTED_TOOLS},
    **{f"tools[]:{kind}": refused(_VENDOR_TOOL) for kind in _VENDOR_TOOLS},
    "tools[].defer_loading": dropped("every tool is told at once", False),
    "tools[].async": dropped("in chat every call is answered before the next turn", False),
    "tools[].allowed_callers": dropped("in chat only the model calls tools", ["direct"]),
    "tools[].output_schema": dropped("chat describes no outputs of tools"),
    "tool_choice": carried("without `tools` it is left out"),
    "tool_choice:allowed_tools": carried("to OpenAI itself; refused elsewhere"),
    "tool_choice:custom": carried("to OpenAI itself; refused elsewhere"),
    **{f"tool_choice:{kind}": refused(_SERVER_SIDE) for kind in _HOSTED_TOOLS},
    **{f"tool_choice:{kind}": refused(_VENDOR_TOOL) for kind in _VENDOR_TOOLS},
    "parallel_tool_calls": carried("without `tools` it is left out"),
    "text": carried("`format` becomes `response_format`"),
    "text.verbosity": carried("to OpenAI itself; dropped elsewhere"),
    "reasoning": carried("`effort` becomes `reasoning_effort`; `summary` is given wherever there is one"),
    "reasoning.effort": carried("dropped for OpenAI's models that do not reason"),
    "reasoning.context": dropped("chat shows the model what the request holds"),
    "reasoning.mode": dropped("chat has no modes of reasoning"),
    "include": carried(),
    "include[]:message.output_text.logprobs": carried("becomes `logprobs`"),
    "include[]:reasoning.encrypted_content": here("the reasoning comes in a form that may be sent back"),
    "include[]:message.input_image.image_url": dropped("an answer does not hold what was asked"),
    **{f"include[]:{name}": dropped("tells of tools that its vendor runs, and there are none") for name in _OF_HOSTED},
    "metadata": here("it stands in the response"),
    "user": carried(),
    "safety_identifier": carried("to OpenAI itself, and to messages; dropped elsewhere"),
    "service_tier": carried("those that chat has, to OpenAI itself; others are dropped unless they are the default"),
    "prompt_cache_key": carried("to OpenAI itself; dropped elsewhere"),
    "prompt_cache_options": dropped(_HINT),
    "prompt_cache_retention": carried("to OpenAI itself; dropped elsewhere"),
    "previous_response_id": refused(_STORED),
    "conversation": refused(_STORED),
    "prompt": refused("stored prompts lie with another vendor"),
    "background": refused("headgate has no background mode: an answer comes on the connection that asked", False),
    "moderation": refused(_SERVER_SIDE),
    "store": dropped(_STORED, False),
    "truncation": dropped("a prompt that is too long is refused by the model instead", "disabled"),
    "max_tool_calls": dropped("it counts hosted tools, and there are none"),
    "context_management": dropped("edits of the conversation on the vendor's side", []),
    "client_metadata": dropped("labels for the vendor's storage"),
    "access_programs": dropped("names an account at another vendor"),
    "image": dropped(_HINT),
}

TABLE: Mapping[tuple[Dialect, Dialect], Rows] = {
    (Dialect.CHAT, Dialect.MESSAGES): CHAT_TO_MESSAGES,
    (Dialect.MESSAGES, Dialect.CHAT): MESSAGES_TO_CHAT,
    (Dialect.CHAT, Dialect.RESPONSES): CHAT_TO_RESPONSES,
    (Dialect.RESPONSES, Dialect.CHAT): RESPONSES_TO_CHAT,
}
