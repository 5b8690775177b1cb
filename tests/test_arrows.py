"""The arrows that import-linter cannot keep: single modules, and third-party packages by room.

A package that a room may use is on its list with the job it does there; anything else fails,
also a package that nobody thought of forbidding. The list of the longest matching prefix holds.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = frozenset(
    {
        "app",
        "assembly",
        "assembly_billing",
        "assembly_fleet",
        "assembly_page",
        "audit_cli",
        "billing",
        "billing_cli",
        "bots",
        "checks",
        "cli",
        "core",
        "environment",
        "fleet_cli",
        "operate",
        "platforms",
        "reach",
        "settings",
        "settings_parts",
        "storage",
        "stores",
        "variables",
    }
)

_CORE = {"structlog", "markdown_it", "cryptography", "PIL", "yaml", "prometheus_client", "babel"}

THIRD_PARTY: dict[str, set[str]] = {
    "core": _CORE | {"wcwidth"},
    "core.fleet.ssh": _CORE | {"wcwidth", "asyncssh"},
    "core.shell": _CORE | {"wcwidth", "tree_sitter", "tree_sitter_bash"},
    "core.schedule": _CORE | {"wcwidth", "cronsim"},
    "core.engines": _CORE | {"anthropic", "httpx2", "claude_agent_sdk", "mcp", "aiohttp", "yarl"},
    "billing": {"structlog"},
    "billing.invoice_pdf": {"structlog", "fpdf"},
    "bots": {"structlog", "markdown_it"},
    "bots.console": {"structlog", "markdown_it", "prompt_toolkit", "rich", "wcwidth", "aiohttp"},
    "bots.operator": {"aiohttp"},
    "bots.web": {"structlog", "aiohttp", "pydantic", "jwt", "prometheus_client"},
    "bots.slack": {"structlog", "markdown_it", "aiohttp", "slack_bolt", "slack_sdk"},
    "bots.telegram": {"structlog", "markdown_it", "aiohttp", "telegram"},
    "storage": {"structlog", "sqlalchemy", "alembic", "asyncpg", "cryptography"},
    "app": {"structlog", "aiohttp", "prometheus_client"},
    "assembly": set(),
    "assembly_billing": {"structlog", "aiohttp"},
    "assembly_fleet": {"structlog", "aiohttp"},
    "assembly_page": {"aiohttp"},
    "audit_cli": set(),
    "billing_cli": set(),
    "fleet_cli": set(),
    "platforms": {"structlog", "aiohttp"},
    "checks": {"aiohttp"},
    "cli": set(),
    "operate": set(),
    "reach": {"aiohttp"},
    "environment": {"dotenv"},
    "settings": set(),
    "settings_parts": set(),
    "stores": set(),
    "variables": set(),
}
OWN: dict[str, set[str]] = {
    "core": {"core"},
    "billing": {"billing", "core"},
    "bots": {"bots", "core"},
    "bots.web.billing": {"bots", "billing", "core"},
    "bots.web.operator_billing": {"bots", "billing", "core"},
    "storage": {"storage", "billing", "core"},
    "app": {
        "app",
        "assembly",
        "assembly_billing",
        "assembly_fleet",
        "assembly_page",
        "billing",
        "bots",
        "core",
        "platforms",
        "settings",
        "storage",
        "stores",
    },
    "assembly": {"core", "settings", "storage", "stores"},
    "assembly_billing": {"billing", "bots", "core", "settings", "storage", "stores"},
    "assembly_fleet": {"bots", "core", "settings", "storage", "stores"},
    "assembly_page": {"bots", "core", "settings", "storage", "stores"},
    "audit_cli": {"core", "reach", "settings", "storage"},
    "billing_cli": {"billing", "bots", "core", "reach", "settings"},
    "fleet_cli": {"billing_cli", "bots", "core", "reach", "settings"},
    "platforms": {"bots", "core", "settings", "storage"},
    "checks": {"bots", "core", "platforms", "reach", "settings", "storage"},
    "cli": {
        "app",
        "audit_cli",
        "billing_cli",
        "bots",
        "checks",
        "core",
        "fleet_cli",
        "operate",
        "settings",
    },
    "operate": {"app", "bots", "checks", "core", "reach", "settings", "storage"},
    "reach": {"app", "bots", "core", "settings", "storage"},
    "environment": set(),
    "settings": {"core", "environment", "settings_parts", "variables"},
    "settings_parts": {"environment"},
    "stores": {"core", "settings", "storage"},
    "variables": {"environment"},
}


def _modules() -> Iterator[tuple[str, Path]]:
    """Yield the dotted name and the file of every module of the product."""
    for top in sorted(OURS):
        if (ROOT / f"{top}.py").exists():
            yield top, ROOT / f"{top}.py"
        for path in sorted((ROOT / top).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


def _imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports, at its top or anywhere inside."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} uses a relative import"
            found.add(node.module or "")
    return found


def _longest(rules: dict[str, set[str]], module: str) -> set[str]:
    """Return the room's list; ``bots.console`` is also the room of ``bots.console_render``."""
    fitting = [
        room for room in rules if module == room or module.startswith((f"{room}.", f"{room}_"))
    ]
    return rules[max(fitting, key=len)]


MODULES = dict(_modules())


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    """Every import is the standard library, a room below, or a package on the room's list."""
    tops = {name.split(".")[0] for name in _imports(MODULES[module])} - sys.stdlib_module_names
    assert tops & OURS <= _longest(OWN, module)
    assert tops - OURS <= _longest(THIRD_PARTY, module)


def test_a_forbidden_import_is_found(tmp_path: Path) -> None:
    """The walk sees imports inside functions and under conditions; the lists refuse them."""
    path = tmp_path / "module.py"
    path.write_text("def f():\n    if 1:\n        import sqlalchemy.dialects\n")
    assert _imports(path) == {"sqlalchemy.dialects"}
    assert "sqlalchemy" not in _longest(THIRD_PARTY, "core.turn")
    assert "anthropic" in _longest(THIRD_PARTY, "core.engines.claude_api")
    assert "anthropic" not in _longest(THIRD_PARTY, "core.engineering")
