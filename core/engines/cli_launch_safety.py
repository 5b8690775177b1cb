"""What makes a Claude Code process harmless: flags, options and variables, each with its reason.

Everything here was tried against CLI 2.1.330 (``tests/core/engines/test_cli_traps*.py``).
Both engines that run the CLI use all of it; each alone would leave a hole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

PROJECT = "it0"
"""The directory under ``projects/`` that holds the session files, whatever the cwd."""
_ALL_DAY_MS = "86400000"

FLAGS: tuple[tuple[str, str], ...] = (
    (
        "--setting-sources=",
        "hooks and permissions in settings files of user and project are ignored",
    ),
    ("--strict-mcp-config", "servers in .mcp.json are not started"),
    ("--tools=", "no built-in tool: what the agent does goes through ToolRunner"),
    ("--permission-mode=dontAsk", "what is not allowed by name is refused, nobody is asked"),
    ("--restricted", "no @file mentions, no settings files, no socket for other sessions"),
    ("--disable-slash-commands", "no command or skill can be run by text"),
    ("--no-chrome", "no browser is looked for"),
    ("--system-prompt-snapshot=off", "a changed system prompt counts also on resume"),
    ("--input-format=stream-json", "the only input that can be marked as verbatim: user_line()"),
)
SAFE_FLAGS: tuple[str, ...] = tuple(flag for flag, _ in FLAGS)

SETTINGS: Mapping[str, tuple[str, str]] = {
    "LANG": ("C.UTF-8", "text is UTF-8 whatever the machine's language"),
    "PATH": ("/nonexistent", "without built-in tools there is no program to run; it ran git"),
    "CLAUDE_CODE_PROJECT_DIR_NAME": (PROJECT, "session files are found without the CLI's rule"),
    "CLAUDE_CODE_RESTRICTED": ("1", "as --restricted, should the flag be forgotten"),
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": ("1", "talks to nobody but the provider"),
    "DISABLE_TELEMETRY": ("1", "the same, should its meaning change"),
    "DISABLE_ERROR_REPORTING": ("1", "the same"),
    "DISABLE_GROWTHBOOK": ("1", "no feature flags from the network"),
    "DISABLE_AUTOUPDATER": ("1", "the version is the one that was tested"),
    "DISABLE_UPDATES": ("1", "the same"),
    "ENABLE_CLAUDEAI_MCP_SERVERS": ("0", "no connectors of the operator's login"),
    "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": ("1", "no plugins"),
    "CLAUDE_CODE_DISABLE_FILE_MENTIONS": ("1", "@/path in a message reads no file"),
    "CLAUDE_CODE_DISABLE_CLAUDE_MDS": ("1", "no CLAUDE.md of any directory is sent"),
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": ("1", "remembers nothing beside the conversation"),
    "CLAUDE_CODE_DISABLE_ORG_MEMORY": ("1", "the same, for the operator's login"),
    "CLAUDE_CODE_DISABLE_BUNDLED_SKILLS": ("1", "skills are IT0's"),
    "CLAUDE_CODE_DISABLE_POLICY_SKILLS": ("1", "no skills from /etc/claude-code"),
    "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS": ("1", "git is not asked about the directory"),
    "CLAUDE_CODE_DISABLE_FILE_CHECKPOINTING": ("1", "no copies of files"),
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": ("1", "nothing runs on after the turn"),
    "CLAUDE_CODE_DISABLE_CRON": ("1", "nothing runs by itself"),
    "CLAUDE_CODE_DISABLE_WORKFLOWS": ("1", "the same"),
    "CLAUDE_CODE_DISABLE_PROACTIVITY": ("1", "the same"),
    "CLAUDE_CODE_DISABLE_AGENT_VIEW": ("1", "no daemon for background sessions"),
    "CLAUDE_AGENT_SDK_DISABLE_BUILTIN_AGENTS": ("1", "no other agents"),
    "CLAUDE_CODE_DISABLE_ADVISOR_TOOL": ("1", "no second model is asked"),
    "CLAUDE_CODE_NO_MODEL_FALLBACK": ("1", "the model is never changed silently"),
    "CLAUDE_CODE_DISABLE_MODEL_ACCESS_FALLBACK": ("1", "the same"),
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": ("1", "the same"),
    "CLAUDE_CODE_DISABLE_LEGACY_MODEL_REMAP": ("1", "the same"),
    "CLAUDE_CODE_DISABLE_FAST_MODE": ("1", "the price is the one in the table"),
    "DISABLE_AUTO_COMPACT": ("1", "IT0 compacts; no model call that nobody asked for"),
    "CLAUDE_CODE_MAX_RETRIES": ("2", "retries are IT0's job; the default is 10"),
    "CLAUDE_CODE_SKIP_MCP_DEBUG_LOG_FILES": ("1", "no logs of tool traffic on disk"),
    "CLAUDE_CODE_MCP_AUTO_BACKGROUND_MS": ("0", "a slow tool is waited for"),
    "CLAUDE_CODE_MCP_TOOL_IDLE_TIMEOUT": ("0", "an approval is silent; http gave up after 300 s"),
    "MCP_TOOL_TIMEOUT": (_ALL_DAY_MS, "ToolRunner ends a call, not the CLI"),
    "MCP_TIMEOUT": ("60000", "a busy machine may take its time to connect"),
}
"""Name of a variable: (value, why)."""


class SafeOptions(TypedDict):
    """The keyword arguments of ``ClaudeAgentOptions`` that say the same as ``FLAGS``."""

    setting_sources: list[Literal["user", "project", "local"]]
    strict_mcp_config: bool
    tools: list[str]
    permission_mode: Literal["dontAsk"]
    verbatim_prompts: bool
    extra_args: dict[str, str | None]


def safe_options() -> SafeOptions:
    """What the SDK engine must pass; name the allowed tools in ``allowed_tools``."""
    return {
        "setting_sources": [],
        "strict_mcp_config": True,
        "tools": [],
        "permission_mode": "dontAsk",
        "verbatim_prompts": True,
        "extra_args": {
            "restricted": None,
            "disable-slash-commands": None,
            "no-chrome": None,
            "system-prompt-snapshot": "off",
        },
    }


def user_line(content: Sequence[Mapping[str, object]]) -> bytes:
    """A user's message for stdin (``--input-format=stream-json``), to be taken verbatim.

    ``client_composed`` is what the SDK's ``verbatim_prompts`` sets: without it the CLI answers
    ``/clear`` and the like itself, and the model never sees the text.
    """
    line = {
        "type": "user",
        "message": {"role": "user", "content": list(content)},
        "parent_tool_use_id": None,
        "session_id": "",
        "client_composed": True,
    }
    return json.dumps(line).encode() + b"\n"
