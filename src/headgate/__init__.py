"""headgate: a gateway for LLM traffic that cannot overspend and will not let a local model swamp the machine."""

__version__ = "0.1.0"
