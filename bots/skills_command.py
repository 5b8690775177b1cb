"""``it0 skills``: what it reads, sends and says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from bots.console_terminal import safe_text
from bots.operator import OperatorClient, RequestRefused
from core.skill import Skill
from core.skill_folder import Folder, read_folder

_FROM = {"built_in": "built in", "installation": "installation", "team": "team"}


async def list_skills(client: OperatorClient, out: TextIO) -> int:
    """The team's skills, a line each. Raises ``RequestRefused``."""
    for row in await client.skills():
        state = "on" if row["enabled"] else "off"
        source = _FROM.get(row["source"], row["source"])
        print(safe_text(f"{row['name']:24} {state:4} {source:13} {row['description']}"), file=out)
    return 0


async def import_skills(client: OperatorClient, directory: Path, out: TextIO) -> int:
    """Import a directory: every skill in it, or none when one is wrong; 1 for none.

    Raises ``RequestRefused`` when the server refuses them.
    """
    try:
        folder = await asyncio.to_thread(read_folder, directory)
    except OSError as error:
        message = f"{directory} cannot be read: {error.strerror}."
        raise RequestRefused(message) from error
    for line in _report(folder):
        print(safe_text(line), file=out)
    if folder.wrong:
        count = len(folder.wrong)
        print(f"Nothing was imported: {count} of the files {_are(count)} wrong.", file=out)
        return 1
    if not folder.found:
        print(safe_text(f"There is no skill in {directory}: no NAME/SKILL.md."), file=out)
        return 1
    kept = await client.add_skills([_body(found.skill) for found in folder.found])
    for row in kept:
        off = "" if row["enabled"] else " (off)"
        print(safe_text(f"Imported {row['name']}{off}"), file=out)
    return 0


def _report(folder: Folder) -> Iterator[str]:
    for wrong in folder.wrong:
        yield str(wrong)
    for found in folder.found:
        for note in found.notes:
            yield f"{found.place}: {note}."
    for place in folder.skipped:
        yield f"{place}: has no front matter: not taken for a skill."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _body(skill: Skill) -> dict[str, object]:
    return {
        "name": skill.key,
        "description": skill.description,
        "body": skill.body,
        "triggers": list(skill.examples),
        "steps": [{"tool": step.tool, "arguments": dict(step.arguments)} for step in skill.steps],
        "enabled": skill.enabled,
    }
