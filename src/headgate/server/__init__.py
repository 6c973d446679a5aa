"""The side that faces clients.

protocol.py     uvicorn's HTTP protocol with limits on heads, and word of a client that leaves
client.py       one ASGI request as the relay's `Client`; reading a body within limits
gateway.py      the ASGI application: paths, who may call, and the way into the relay
operations.py   /health, /ready, /metrics
"""
