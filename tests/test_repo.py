"""Rules of the repository that no linter knows."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import cast

import pytest
import yaml

from variables import NAMES

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")


def _read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def tracked() -> list[Path]:
    """Return the files that belong to the repository; all of them where git is missing."""
    try:
        listed = subprocess.run(
            ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        ignored = {".venv", ".git", "data", "__pycache__"}
        return [p for p in ROOT.rglob("*") if p.is_file() and not ignored & set(p.parts)]
    return [ROOT / name for name in listed.decode().split("\0") if (ROOT / name).is_file()]


def _dependency_lines() -> list[str]:
    """Return the lines of pyproject.toml that name a dependency."""
    text = _read("pyproject.toml").split("[tool.", 1)[0]
    return [line for line in text.splitlines() if re.match(r'    "[A-Za-z0-9]', line)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_has_its_reason() -> None:
    """Whoever adds a package says in the same line what it is for."""
    lines = _dependency_lines()
    project = tomllib.loads(_read("pyproject.toml"))
    named = list(project["project"]["dependencies"])
    for group in project["dependency-groups"].values():
        named += group
    assert len(lines) == len(named)
    assert [line for line in lines if not re.search(r"# \S+ \S+", line)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_is_exact_and_hashed(lock: str) -> None:
    """What is installed is what was reviewed, byte for byte, from whatever index."""
    entries = re.split(r"\n(?=\S)", _read(lock).strip())
    assert len(entries) > 30
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+==[^\s;]+", entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]


def test_every_dependency_is_locked() -> None:
    """The lock files are not older than the list of dependencies."""
    project = tomllib.loads(_read("pyproject.toml"))
    groups = project["dependency-groups"]
    product = project["project"]["dependencies"] + groups["build"]
    for lock, wanted in zip(LOCKS, (product, product + groups["dev"]), strict=True):
        locked = {
            _normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", _read(lock), re.MULTILINE)
        }
        names = {_normal(cast("re.Match[str]", re.match(r"[\w.-]+", w)).group()) for w in wanted}
        assert names <= locked


def test_no_machine_and_no_registry_is_named() -> None:
    """The repository installs on any machine from any index: pip's own configuration decides."""
    places = ["/" + "work/", "/" + "tmp/w/"]
    if len(ROOT.parts) > 2:
        places.append(f"{ROOT}/")
    index = "pypi" + r"\.org|(?:--|_)(?:extra-)?index-" + "url[ =]|--find-" + "links"
    here = "|".join([*(re.escape(place) for place in places), "(?-i:/" + "Users/)"])
    pattern = re.compile(f"(?<![A-Za-z0-9_.~-])(?:{here})|{index}", re.IGNORECASE)
    allowed = re.compile(r"--no-emit-index-url")
    found = []
    for path in tracked():
        if path.suffix in {".png", ".jpg", ".gif", ".webp", ".pdf", ".wav"}:
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            if pattern.search(allowed.sub("", line)):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_the_example_names_every_setting_and_no_other() -> None:
    """Whoever copies .env.example sees all that can be set, and nothing that does not work."""
    names = re.findall(r"^#?([A-Z][A-Z0-9_]+)=", _read(".env.example"), re.MULTILINE)
    assert sorted(names) == sorted(NAMES)


def test_modules_stay_under_400_lines() -> None:
    """A module that grows past the limit is split; a migration is a record, not a module."""
    product = [
        path
        for path in tracked()
        if path.suffix == ".py"
        and path.relative_to(ROOT).parts[0] not in {"tests", "bench"}
        and path.parent.name != "versions"
    ]
    assert {p.name: n for p in product if (n := len(p.read_text().splitlines())) > 400} == {}


def test_every_test_says_the_behaviour() -> None:
    """Each test has a docstring; together they read as the product's promises."""
    silent = [
        f"{path.name}:{node.lineno}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def _commands() -> set[str]:
    """Return the words that `it0` takes as its first argument."""
    parser = importlib.import_module("cli").build_parser()
    return {
        word
        for action in parser._actions
        if isinstance(action.choices, dict)
        for word in action.choices
    }


def test_every_role_that_is_started_exists() -> None:
    """Procfile, image and compose file start commands that `it0` has."""
    procfile = dict(line.split(": ", 1) for line in _read("Procfile").splitlines())
    started = [shlex.split(command) for command in procfile.values()]
    started += [
        service["command"] for service in _compose()["services"].values() if "command" in service
    ]
    started.append(_docker_json("CMD"))
    assert all(command[0] == "it0" for command in started)
    assert {command[1] for command in started} <= _commands()


def _compose() -> dict[str, dict[str, dict[str, list[str]]]]:
    return cast(
        "dict[str, dict[str, dict[str, list[str]]]]", yaml.safe_load(_read("docker-compose.yml"))
    )


def test_the_compose_file_is_closed_and_waits_for_what_it_needs() -> None:
    """Images are pinned, ports are loopback only, secrets come from outside, order is by health."""
    text = _read("docker-compose.yml")
    services = _compose()["services"]
    assert {"postgres", "web", "worker", "migrate"} <= services.keys()
    for name, service in services.items():
        image = str(service["image"])
        assert re.search(r":[^:]*[a-z0-9]$", image), name
        assert not image.endswith(":latest"), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        waits = cast("dict[str, dict[str, str]]", service.get("depends_on", {}))
        assert waits.keys() <= services.keys(), name
        assert all(wait["condition"] != "service_started" for wait in waits.values()), name
        environment = cast("dict[str, str]", service.get("environment", {}))
        assert {n for n in environment if n.startswith(("IT0_", "ANTHROPIC_"))} <= NAMES, name
        for key, value in environment.items():
            if re.search("PASSWORD|SECRET|KEY|URL", key):
                assert "${" in value, f"{name}: {key}"
    volumes = set(yaml.safe_load(text)["volumes"])
    mounted = {v.split(":")[0] for s in services.values() for v in s.get("volumes", [])}
    assert mounted == volumes


def _docker_instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", _read("Dockerfile"), flags=re.MULTILINE))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def _docker_json(instruction: str) -> list[str]:
    """Return the last such instruction's argument, which must be in exec form."""
    argument = [value for name, value in _docker_instructions() if name == instruction][-1]
    return cast("list[str]", yaml.safe_load(argument))


def test_the_image_runs_unprivileged_from_pinned_layers() -> None:
    """Not root, no moving tag, dependencies before sources, hashes, a health check, a volume."""
    steps = _docker_instructions()
    names = [name for name, _ in steps]
    bases = [value.split()[0] for name, value in steps if name == "FROM"]
    assert all(re.search(r":\d+\.\d+", base) and "latest" not in base for base in bases)
    final = steps[len(names) - names[::-1].index("FROM") :]
    assert [value for name, value in final if name == "USER"] == ["it0"]
    assert [name for name, _ in final].index("USER") < [name for name, _ in final].index("CMD")
    assert {"HEALTHCHECK", "VOLUME", "STOPSIGNAL"} <= {name for name, _ in final}
    lock = steps.index(("COPY", "requirements.lock ./"))
    install = next(i for i, (_, value) in enumerate(steps) if "--require-hashes" in value)
    sources = next(i for i, step in enumerate(steps) if step == ("COPY", "core core"))
    assert lock < install < sources
    assert "ADD" not in names


def test_the_image_has_every_source_and_nothing_else() -> None:
    """What the wheel is made of is copied and let through by .dockerignore; the rest is not."""
    wheel = tomllib.loads(_read("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = {
        name
        for step, value in _docker_instructions()
        if step == "COPY" and not value.startswith("--from")
        for name in value.split()[:-1]
    }
    assert copied == {
        *wheel["packages"],
        *wheel["include"],
        *copied & {"requirements.lock", "pyproject.toml", "README.md"},
    }
    passed = {line[1:] for line in _read(".dockerignore").splitlines() if line.startswith("!")}
    assert passed == copied


def test_the_health_check_is_valid_python_and_asks_the_health_route() -> None:
    """A typo in the one line that nobody runs here would restart a healthy container for ever."""
    value = next(value for name, value in _docker_instructions() if name == "HEALTHCHECK")
    command = cast("list[str]", yaml.safe_load(value.split("CMD ", 1)[1]))
    assert command[:2] == ["python", "-c"]
    compile(command[2], "healthcheck", "exec")
    assert "/healthz" in command[2]


def test_the_ci_script_is_valid_and_runs_both_suites() -> None:
    """`bash -n` accepts it, it is executable, stops at the first failure and forbids skips."""
    subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, check=True)
    text = _read(".ci/run")
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    assert "set -euo pipefail" in text
    assert "export CI=true" in text
    assert text.index("make test\n") < text.index("make test-slow\n")


def test_every_directory_of_tests_is_a_package() -> None:
    """Otherwise two test modules of one name would shadow each other."""
    holders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    assert {str(d) for d in holders if not (d / "__init__.py").exists()} == set()
