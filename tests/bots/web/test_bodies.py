from __future__ import annotations

import json
from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from bots.web.bodies import Body, Integer


class _Days(Body):
    days: Annotated[Integer, Field(ge=1)] = 90


@pytest.mark.parametrize("value", [True, False, "1", 1.5, None, [1], 0])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    """``true`` and "1" would be taken for 1 by a lenient reader."""
    with pytest.raises(ValidationError):
        _Days.model_validate_json(json.dumps({"days": value}))


@pytest.mark.parametrize("text", ['{"days": 3}', '{"days": 3.0}'])
def test_a_whole_number_is_taken_however_json_writes_it(text: str) -> None:
    """JSON Schema makes no difference between 3 and 3.0."""
    assert _Days.model_validate_json(text).days == 3


def test_a_field_that_nobody_asked_for_is_refused() -> None:
    """A typo is told, not dropped."""
    with pytest.raises(ValidationError):
        _Days.model_validate_json('{"dayz": 3}')
