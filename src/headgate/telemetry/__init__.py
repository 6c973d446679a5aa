"""From events to log lines and metrics, in one table; nothing else in headgate logs or counts.

events.py    the table: what each event becomes
metrics.py   Prometheus, one process or the sum of several
logs.py      structlog, set up to write without ever waiting for whoever reads
"""
