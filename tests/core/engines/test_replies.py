"""How the texts of several model calls become one reply."""

from __future__ import annotations

from core.engines.replies import joined_text, separator_after
from core.steps import ModelStep, Step, ToolStep


def _said(text: str) -> ModelStep:
    return ModelStep(call_id="c", engine="e", model="m", text=text)


def test_texts_are_separated_and_silence_is_skipped() -> None:
    """Model calls without text, and tools, leave no gap."""
    tool = ToolStep(tool_call_id="t", name="look", output="ok")
    steps: list[Step] = [_said(""), tool, _said("One."), tool, _said(""), _said("Two.")]
    assert joined_text(steps) == "One.\n\nTwo."


def test_streaming_with_separators_gives_the_joined_text() -> None:
    """What an engine streams step by step is what is rebuilt from the steps."""
    steps: list[Step] = []
    streamed = ""
    for text in ("", "One.", "", "\n", "Two."):
        streamed += (separator_after(steps) + text) if text else ""
        steps.append(_said(text))
    assert streamed == joined_text(steps)
