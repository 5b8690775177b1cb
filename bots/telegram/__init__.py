"""Telegram: two translations and a client. The only importer of telegram."""
