"""Steps survive their way through the database, whatever a model put into them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.metering import Usage
from core.steps import (
    ModelStep,
    SteerStep,
    Step,
    ToolCall,
    ToolStartedStep,
    ToolStep,
    dump_step,
    load_step,
)

TEXT = st.text(st.characters(), max_size=20)
ARGUMENTS = st.dictionaries(TEXT, TEXT | st.integers() | st.booleans() | st.none(), max_size=3)
CALLS = st.builds(ToolCall, id=TEXT, name=TEXT, arguments=ARGUMENTS)
COUNT = st.integers(0, 2**40)
USAGE = st.builds(Usage, input_tokens=COUNT, output_tokens=COUNT, cache_read_tokens=COUNT)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        ModelStep,
        call_id=TEXT,
        engine=TEXT,
        model=TEXT,
        text=TEXT,
        tool_calls=st.lists(CALLS, max_size=3).map(tuple),
        stop_reason=TEXT,
        usage=USAGE,
        native=st.none() | TEXT,
    ),
    st.builds(ToolStartedStep, tool_call_id=TEXT, name=TEXT),
    st.builds(ToolStep, tool_call_id=TEXT, name=TEXT, output=TEXT, is_error=st.booleans()),
    st.builds(SteerStep, text=TEXT),
)


@given(STEPS)
def test_a_step_comes_back_as_it_was(step: Step) -> None:
    """Every step is rebuilt exactly, and its payload is text that every database takes."""
    kind, payload = dump_step(step)
    assert load_step(kind, payload) == step
    assert payload.isascii()
    assert "\x00" not in payload


def test_an_unknown_kind_is_an_error() -> None:
    """A step of a newer version is not silently taken for another."""
    with pytest.raises(ValueError, match="unknown step kind 'dance'"):
        load_step("dance", "{}")
