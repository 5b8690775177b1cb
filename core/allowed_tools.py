"""Which tools a person's agent may use: the role, the team's lists and the call's own level.

The role decides; a team's lists only ever take away from it, and what is denied stays denied
whatever is allowed. Level L3 is nobody's.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.agent_config import AgentConfig
from core.risk import Level, least_role
from core.tenants import Role
from core.words import Sentence, sentence


@dataclass(frozen=True, slots=True)
class AllowedTools:
    """For one person in one team."""

    role: Role
    config: AgentConfig

    def offers(self, tool: str) -> bool:
        """Whether a model is shown the tool at all."""
        return self.switched_off(tool) is None

    def switched_off(self, tool: str) -> Sentence | None:
        """Why the team's lists refuse a tool, whatever the call; None when they do not."""
        if tool in self.config.denied_tools:
            return sentence("Your team's admin switched the tool {tool} off.", tool=tool)
        allowed = self.config.allowed_tools
        if allowed is not None and tool not in allowed:
            return sentence(
                "Your team's admin switched the tool {tool} off: it is not among the tools that "
                "are allowed.",
                tool=tool,
            )
        return None

    def refusal(self, tool: str, level: Level, why_forbidden: str = "") -> Sentence | None:
        """Why a call of this level may not be made; None when it may.

        ``why_forbidden`` is half a sentence about a call of level L3, or empty. A call of
        level L2 that is not refused here still waits for its approval.
        """
        if (off := self.switched_off(tool)) is not None:
            return off
        needed = least_role(level)
        if needed is None:
            return _forbidden(tool, why_forbidden)
        if not self.role.includes(needed):
            return sentence(
                "{tool} needs the role {needed} (level {level}); you are {role}. Ask an admin of "
                "your team.",
                tool=tool,
                needed=needed,
                level=level.name,
                role=self.role,
            )
        return None


def _forbidden(tool: str, why: str) -> Sentence:
    if not why:
        return sentence(
            "{tool} with these arguments is forbidden (level L3), whoever asks.", tool=tool
        )
    return sentence(
        "{tool} with these arguments is forbidden (level L3), whoever asks: {reason}.",
        tool=tool,
        reason=why,
    )
