"""Dialects as bytes and JSON: what a request asks for, what an answer says, how an error is written.

Nothing here knows HTTP connections, routing or money, and nothing waits: every function takes bytes and gives values,
every stream reader is fed what has arrived. A dialect's own rules stand in one file each:

    openai_chat, openai_completions, openai_embeddings, openai_responses, anthropic_messages

and `request.py` gives them behind one interface. Translation between two dialects will stand beside them, one
file per ordered pair.
"""
