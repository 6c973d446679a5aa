"""The HTTP/1.1 client towards providers: connections, pools per origin, TLS, proxies, timeouts, limits.

dial.py         names, addresses, proxies and TLS: from an origin to an open connection
connection.py   one connection: a request out, one response in, with back-pressure and deadlines
client.py       pools of idle connections, and the one call that the relay makes
"""
