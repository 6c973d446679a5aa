"""Translation between two chat-like dialects: a client speaks one, its target another.

Four converters, one for each ordered pair that is one step apart, named for the way of the request:

    chat_to_messages         a chat client on an upstream that speaks messages
    messages_to_chat         a messages client on an upstream that speaks chat
    chat_to_responses        a chat client on an upstream that speaks responses
    responses_to_chat        a responses client on an upstream that speaks chat

Each is a module that gives the same four things, pure and synchronous:

    request(fields, upstream, dropped)   the upstream's request; raises `Refusal` for what cannot be carried
    answer(value, asked)                 the client's answer from the upstream's; raises `Malformed`
    Stream(asked)                        `on(event)` and `end()` give the client's events from the upstream's
    NAMES                                upstream field -> client field, where they are called differently

and stands in three files: `X.py` has the request but for the conversation, `X_turns.py` the conversation, `X_stream.py`
the way back, where a whole answer is read as a stream of one piece. (`chat_to_messages_form.py` has the structured
output of models without it, `responses_to_chat_items.py` the items of a streamed response.)

Between messages and responses two converters are joined, with chat in the middle (`translation.py`). Chat is spoken
there with the extensions that its wider world has agreed on: `reasoning_content`, `reasoning_details`, `top_k`.

What happens to each field is said in one place, the table in `fields.py`: carried, dropped (its name goes into
`dropped`, and the client is told), or refused. A field that is not in the table is refused: it might change the answer.

What several share:

    shape.py, ruling.py       checks of JSON from outside, and what the table says of it
    upstream.py               which fields the one that is asked honours
    chat_stream.py            reads the chunks of a chat stream; tool_calls.py: which call a piece belongs to
    chat_chunks.py            writes them, and adds them up to a whole answer
    reasoning.py, foreign.py  reasoning that crosses a vendor's border, and comes back
    tool_ids.py, tool_choice.py, namespaces.py

Converters know nothing of clocks, HTTP, or who asks; they never change what they are given; and what they do takes time
in proportion to what comes, since it is done while everybody else waits.
"""
