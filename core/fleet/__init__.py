"""The fleet: which servers there are, how to reach them, what the agent can do to them."""
