"""``/engine``: what answers this team, why, and what else could; admins change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from core.agent_config import MODEL_NAME, Billing, ModelNotes, StoredConfig
from core.commands_text import Handler, answered, code, escape, refused
from core.engine_choice import HOW_TO_GET, Engines
from core.tenants import Role
from core.turns import Ending, Turn
from core.words import Sentence, Words, sentence

DEFAULT = "default"
"""``/engine default``: what the installation uses."""
MODEL = "model"
"""``/engine model NAME``: the model alone."""

_BY_MESSAGE = sentence("chosen for this message")
_BY_TEAM = sentence("your team's choice")
_BY_INSTALLATION = sentence("the installation's default")
_USAGE = sentence(
    "An admin changes it with `/engine NAME`, `/engine NAME MODEL`, `/engine model MODEL`, "
    "`/engine default` or `/engine model default`."
)


class TeamEngines(Protocol):
    """The engine of a team."""

    async def set_engine(self, turn: Turn, engine: str | None) -> None:
        """The engine of the turn's team; None is the installation's."""


class TeamModels(Protocol):
    """What a team chose, and its model."""

    async def read(self, tenant_id: str) -> StoredConfig:
        """The team's configuration, without its key."""

    async def set_model(self, turn: Turn, model: str | None) -> None:
        """The model of the turn's team; None is the installation's."""


class EngineCommand:
    """Answers it."""

    def __init__(
        self, engines: Engines, chosen: TeamEngines, configs: TeamModels, models: ModelNotes
    ) -> None:
        """Wire the ports."""
        self._engines = engines
        self._chosen = chosen
        self._configs = configs
        self._models = models

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {"engine": self._engine}

    async def _engine(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        wanted = [part.strip("`") for part in rest.split()]
        if not wanted:
            return answered(await self._now(turn, words))
        if turn.user.role is not Role.ADMIN:
            return refused(words("Only an admin of the team can change its engine."))
        match wanted[0].casefold(), wanted[1:]:
            case "model", [model]:
                return await self._change(turn, words, model=model)
            case "default", []:
                return await self._change(turn, words, engine=DEFAULT)
            case name, [] if name != MODEL:
                return await self._change(turn, words, engine=name)
            case name, [model] if name != MODEL:
                return await self._change(turn, words, engine=name, model=model)
            case _:
                return refused(words.of(_USAGE))

    # -- changing -----------------------------------------------------------------------

    async def _change(
        self, turn: Turn, words: Words, *, engine: str | None = None, model: str | None = None
    ) -> Ending:
        """Check both before either is changed; a re-run after a crash changes nothing more."""
        stored = await self._configs.read(turn.tenant_id)
        problem = self._problem(words, stored, engine, model)
        if problem is not None:
            return refused(problem)
        said: list[str] = []
        if engine is not None:
            await self._chosen.set_engine(turn, None if engine == DEFAULT else engine)
            said.append(self._says_engine(words, engine))
        if model is not None:
            await self._configs.set_model(turn, None if model.casefold() == DEFAULT else model)
            said.extend(self._says_model(words, model))
        return answered("\n\n".join(said))

    def _problem(
        self, words: Words, stored: StoredConfig, engine: str | None, model: str | None
    ) -> str | None:
        if engine is not None and engine != DEFAULT:
            chosen = self._engines.choose(engine, own_key=_own_key(stored))
            if isinstance(chosen, str):
                return escape(words.of(chosen))
        if model is not None and MODEL_NAME.fullmatch(model) is None:
            return words(
                "{model} is no name of a model. Names look like `claude-sonnet-5-5`.",
                model=code(model),
            )
        return None

    def _says_engine(self, words: Words, engine: str) -> str:
        if engine == DEFAULT:
            return words(
                "Your team uses the installation's engine again: **{engine}**.",
                engine=escape(self._engines.default),
            )
        return words("Your team's engine is **{engine}** from now on.", engine=escape(engine))

    def _says_model(self, words: Words, model: str) -> list[str]:
        if model.casefold() == DEFAULT:
            name = escape(self._engines.model)
            return [
                words("Your team uses the installation's model again: **{model}**.", model=name)
            ]
        said = [words("Your team's model is **{model}** from now on.", model=escape(model))]
        note = self._models.warning(model)
        return said if note is None else [*said, escape(words.of(note))]

    # -- telling ------------------------------------------------------------------------

    async def _now(self, turn: Turn, words: Words) -> str:
        stored = await self._configs.read(turn.tenant_id)
        listed = self._listed(words, own_key=_own_key(stored))
        parts = (self._engine_now(turn, stored, words), listed, words.of(_USAGE))
        return "\n\n".join(parts)

    def _engine_now(self, turn: Turn, stored: StoredConfig, words: Words) -> str:
        """What a message sent like this one would be answered by."""
        wanted = turn.engine if turn.engine_named else stored.engine
        engine = self._engines.choose(wanted, named=turn.engine_named, own_key=_own_key(stored))
        if isinstance(engine, str):
            return escape(words.of(engine))
        why = _BY_MESSAGE if turn.engine_named else _chooser(stored.engine)
        name = escape(wanted or self._engines.default)
        said = words("- Engine: **{engine}** ({why})", engine=name, why=words.of(why))
        if not engine.has_model:
            return "\n".join([said, words("- Model: none; this engine answers without one")])
        model = turn.model or stored.config.model or self._engines.model
        why = _BY_MESSAGE if turn.model else _chooser(stored.config.model)
        shown = escape(model)
        said += "\n" + words("- Model: **{model}** ({why})", model=shown, why=words.of(why))
        note = self._models.warning(model)
        return said if note is None else f"{said}\n\n{escape(words.of(note))}"

    def _listed(self, words: Words, *, own_key: bool) -> str:
        """Engines that the team may choose, then what the others need."""
        here = self._engines.engines if own_key else self._engines.configured
        said = words("Engines here: {names}.", names=", ".join(f"`{name}`" for name in here))
        missing = [
            f"- `{name}`: {words.of(how)}" for name, how in HOW_TO_GET.items() if name not in here
        ]
        if not missing:
            return said
        return "\n".join([said, "", words("Not configured:"), *missing])


def _own_key(stored: StoredConfig) -> bool:
    return stored.config.billing is Billing.OWN_KEY


def _chooser(choice: str | None) -> Sentence:
    return _BY_INSTALLATION if choice is None else _BY_TEAM
