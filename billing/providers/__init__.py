"""The ways to pay, one module each: translations between a provider's words and ours.

They implement ``billing.payments.PaymentProvider`` and import nothing but the standard
library, ``core`` and ``billing``; a provider that is spoken to over a network is given its
transport by the composition root.
"""
