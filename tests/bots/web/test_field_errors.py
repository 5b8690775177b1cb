"""What is wrong with a field, in words for whoever sent it."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal

import pytest
from pydantic import AwareDatetime, Field, SecretStr, ValidationError

from bots.web.bodies import Body, Integer, Query
from bots.web.field_errors import sentence_of
from bots.web.models import CodeBody, TurnBody, UserBody
from bots.web.servers_models import NewServerBody
from core.emails import SENTENCE
from core.tenants import Role
from core.words import Sentence


class Every(Body):
    """A field of each kind."""

    text: Annotated[str, Field(min_length=1, max_length=2000)] = "x"
    pair: Annotated[str, Field(min_length=2, pattern="^a")] = "ab"
    count: Annotated[Integer, Field(ge=1, le=90)] = 1
    flag: bool = True
    names: list[str] = Field(default=[], max_length=2)
    levels: dict[str, Literal["L1", "L2"]] = Field(default={})
    role: Role = Role.VIEWER
    when: AwareDatetime | None = None
    key: SecretStr | None = None
    way: Literal["all"] | Annotated[str, Field(max_length=3)] = "all"
    ratio: float = 1.0


class Asked(Query):
    """Of an address: all is text."""

    limit: int = 1
    day: date | None = None


def _told(model: type[Body | Query], document: str) -> str:
    with pytest.raises(ValidationError) as wrong:
        model.model_validate_json(document)
    return sentence_of(wrong.value)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ('{"text": ""}', "The field 'text' is empty."),
        (f'{{"text": "{"x" * 2001}"}}', "'text' is too long; at most 2,000 characters"),
        ('{"text": 5}', "The field 'text' has to be text."),
        ('{"pair": "a"}', "'pair' is too short; it needs 2 characters"),
        ('{"pair": "bb"}', "'pair' has characters or a form that is not accepted."),
        ('{"count": 0}', "'count' has to be 1 or more."),
        ('{"count": 91}', "'count' has to be 90 or less."),
        ('{"count": "1"}', "'count' has to be a whole number."),
        ('{"flag": 1}', "'flag' has to be true or false."),
        ('{"names": "a"}', "'names' has to be a list."),
        ('{"names": ["a", "b", "c"]}', "'names' has too many entries; at most 2"),
        ('{"names": ["a", 2]}', "The field 'names.1' has to be text."),
        ('{"levels": []}', "'levels' has to be an object."),
        ('{"levels": {"systemctl restart": "L9"}}', "'levels.systemctl restart' has to be one"),
        ('{"role": "king"}', "'role' has to be one of these: viewer, operator, admin."),
        ('{"when": "2026-03-05T09:00:00"}', "'when' has to be a time with its zone"),
        ('{"when": "tomorrow"}', "'when' has to be a time with its zone"),
        ('{"way": "none"}', "The field 'way' has to be one of these: all."),
        ('{"ratio": "x"}', "The field 'ratio' has a value that is not accepted."),
        ('{"colour": "red"}', "There is no field 'colour' here. Leave it out."),
        ('{"key": [1]}', "The field 'key' has to be text."),
        ("[]", "The body has to be a JSON object"),
        ("{", "The body is not valid JSON in UTF-8."),
    ],
)
def test_a_field_is_named_with_what_it_has_to_be(document: str, told: str) -> None:
    """In our own words, that can be translated; pydantic's types are not among them."""
    said = _told(Every, document)
    assert isinstance(said, Sentence)
    assert told in said
    assert re.search(r"constrained|pydantic|Input should|literal|SecretStr|\[", said) is None


def test_real_bodies_and_addresses_are_told_of_as_well() -> None:
    """A missing field, a field of a list, a union that once showed pydantic's own name for it."""
    assert _told(UserBody, "{}") == "The field 'email' is missing."
    attached = '{"attachments": [{"name": "", "data": ""}]}'
    assert _told(TurnBody, attached) == "The field 'attachments.0.name' is empty."
    server = '{"name": "a", "address": "b", "private_key": ""}'
    assert _told(NewServerBody, server) == "The field 'private_key' is empty."
    assert "'limit' has to be a whole number." in _told(Asked, '{"limit": "x"}')
    assert "'day' has to be a date, such as 2026-03-05." in _told(Asked, '{"day": "x"}')


def test_our_own_sentences_pass_as_they_are() -> None:
    """What a validator of ours says is told as it stands, and can still be translated."""
    address = _told(UserBody, '{"email": "nobody"}')
    assert (address, isinstance(address, Sentence)) == (SENTENCE, True)
    code = _told(CodeBody, '{"kind": "invite"}')
    assert code.startswith("An invitation names an address;")
    assert isinstance(code, Sentence)


def test_no_value_is_repeated() -> None:
    """Neither a secret nor a name of a field that goes on for ever."""
    assert "canary" not in _told(Every, '{"key": {"a": "canary"}}')
    assert len(_told(Every, f'{{"{"x" * 5000}": 1}}')) < 200
