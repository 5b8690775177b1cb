"""The agent: turns, conversations, engines, tools, tenants.

May import the standard library, itself and the small libraries its own job needs.
Never a web framework, a platform SDK, a database or a payment library; the model SDKs
live in ``core.engines`` alone. Everything from outside arrives through a Protocol that is
declared beside its caller and is implemented in ``storage``, ``bots`` or ``billing``.
"""
