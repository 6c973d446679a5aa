"""Translation between two chat-like dialects: a client speaks one, its target another.

Four converters, one file for each ordered pair, named for the way of the request; each file also holds the way back:

    chat_to_messages.py      a chat client on an upstream that speaks messages
    messages_to_chat.py      a messages client on an upstream that speaks chat
    chat_to_responses.py     a chat client on an upstream that speaks responses
    responses_to_chat.py     a responses client on an upstream that speaks chat

Between messages and responses two of them are joined, with chat in the middle (`translation.py`). Chat is spoken there
with the extensions that its wider world has agreed on: `reasoning_content`, `reasoning_details`, `top_k`.

Each file gives the same four things, pure and synchronous:

    request(fields, upstream, dropped)   the upstream's request; raises `Refusal` for what cannot be carried
    answer(value, asked)                 the client's answer from the upstream's; raises `Malformed`
    Stream(asked)                        `on(event)` and `end()` give the client's events from the upstream's
    NAMES                                upstream field -> client field, where they are called differently

What happens to each field is said in one place, the table in `fields.py`: carried, dropped (its name goes into
`dropped`, and the client is told), or refused. A field that is not in the table is refused: it might change the answer.
Converters know nothing of clocks, HTTP, or who asks; they never change what they are given.
"""
