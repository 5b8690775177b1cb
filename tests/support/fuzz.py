"""Asks an API what its OpenAPI document promises: schemathesis, bounded and deterministic."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "ignored_auth",
)


@dataclass(kw_only=True)
class Fuzz:
    """The questions, and what came of them."""

    url: str
    headers: dict[str, str]
    examples: int
    """So often each operation is asked in each mode."""
    modes: tuple[GenerationMode, ...] = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    """With right data, and with wrong data."""
    known: Mapping[str, str] = field(default_factory=dict)
    """Things that exist, by the names they have in paths: every second question is about them."""
    bodies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What every second question says, by operation."""
    problems: list[str] = field(default_factory=list)
    """What did not hold."""
    statuses: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """How each operation answered."""

    async def run(self) -> None:
        """Ask all of it in a thread; the server runs in this loop."""
        await asyncio.to_thread(self._ask_everything)

    def answered(self) -> set[str]:
        """The operations that did at least once what they are for."""
        return {name for name, seen in self.statuses.items() if any(one < 300 for one in seen)}

    def _ask_everything(self) -> None:
        load_all_checks()
        schema = schemathesis.openapi.from_url(f"{self.url}/openapi.json")
        operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]  # an invalid one raises
        # What exists is removed last, so that every other question can be about it.
        for operation in sorted(operations, key=lambda one: one.method.upper() == "DELETE"):
            for mode in self.modes:
                name = f"{operation.method.upper()} {operation.path}"
                self._ask(name, operation.as_strategy(generation_mode=mode), mode)

    def _ask(self, name: str, strategy: Any, mode: GenerationMode) -> None:
        checks: Any = CHECKS.get_by_names(list(CHECKED))
        numbers = count()

        @settings(
            max_examples=self.examples,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def ask(case: Case[Any]) -> None:
            if mode is GenerationMode.POSITIVE and next(numbers) % 2:
                self._about_something(case, name)
            if mode is GenerationMode.NEGATIVE and _vanishes(case):
                return
            response = case.call_and_validate(headers=self.headers, checks=checks)
            self.statuses[name].add(response.status_code)

        try:
            ask()
        except Unsatisfiable:
            return  # it takes nothing, so nothing can be wrong
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  # reported together
            self.problems.append(f"{name} ({mode}): {type(error).__name__}: {error}")

    def _about_something(self, case: Case[Any], name: str) -> None:
        """Ask about what exists, in sensible words, not under a key that was used before."""
        for parameter in set(case.path_parameters or {}) & set(self.known):
            case.path_parameters[parameter] = self.known[parameter]
        if case.headers:
            case.headers.pop("Idempotency-Key", None)
        if name in self.bodies:
            case.body = dict(self.bodies[name])


def _vanishes(case: Case[Any]) -> bool:
    """Whether something of the query is not sent: an empty list has no spelling in an address.

    What makes such a request wrong may be just that.
    """
    return any(value in ([], {}, None) for value in (case.query or {}).values())
