"""How people reach IT0 by text. Never imports voice, storage, an engine or a payment SDK."""
