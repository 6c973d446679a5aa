"""Who may send, and how much: client keys, their limits, and the guard of a gateway that asks for no key."""
