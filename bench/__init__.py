"""What headgate costs, beside nginx and a bare ASGI pass-through, measured in one run on one machine."""
