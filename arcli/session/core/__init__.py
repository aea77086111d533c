"""What the session decides, without a clock, a thread or a socket: events and ``now`` in, effects out."""
