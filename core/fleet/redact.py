"""The former place of ``core.redact``."""

from core.redact import CUT, HIDDEN, MAX_LINE_CHARS, aside, cut_line, redact

__all__ = ["CUT", "HIDDEN", "MAX_LINE_CHARS", "aside", "cut_line", "redact"]
