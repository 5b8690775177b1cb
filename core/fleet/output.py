"""What a command says, kept within bounds while it comes, however much it is."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field

from core.fleet.host import CommandResult, OnOutput


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")


@dataclass(slots=True)
class Kept:
    """The first ``limit`` bytes of a stream; the rest is forgotten."""

    limit: int
    data: bytearray = field(default_factory=bytearray)
    truncated: bool = False

    def add(self, data: bytes) -> None:
        """Keep of it what there is room for."""
        room = self.limit - len(self.data)
        self.data += data[:room]
        self.truncated = self.truncated or len(data) > room

    def text(self) -> str:
        """What was kept; undecodable bytes became U+FFFD."""
        return self.data.decode("utf-8", "replace")


class Output:
    """Both streams of a command, each in its bounds, and both as they came."""

    def __init__(
        self, *, max_bytes: int, keep_bytes: int = 0, told: OnOutput | None = None
    ) -> None:
        """Keep ``max_bytes`` of each stream and ``keep_bytes`` of both together."""
        self.stdout = Kept(max_bytes)
        self.stderr = Kept(max_bytes)
        self.whole = Kept(keep_bytes)
        self.came = 0
        """Bytes of both streams so far, kept or not."""
        self._told = told
        self._decoders = (_decoder(), _decoder())

    def add(self, data: bytes, *, error: bool) -> None:
        """Take a piece of stdout or, with ``error``, of stderr."""
        self.came += len(data)
        (self.stderr if error else self.stdout).add(data)
        self.whole.add(data)
        self._tell(self._decoders[error].decode(data))

    def result(self, exit_status: int, *, timed_out: bool, seconds: float) -> CommandResult:
        """All of it, when the command is over."""
        for decoder in self._decoders:
            self._tell(decoder.decode(b"", final=True))
        return CommandResult(
            exit_status=exit_status,
            stdout=self.stdout.text(),
            stderr=self.stderr.text(),
            truncated=self.stdout.truncated or self.stderr.truncated,
            timed_out=timed_out,
            whole=bytes(self.whole.data),
            whole_bytes=self.came,
            seconds=seconds,
        )

    def _tell(self, text: str) -> None:
        if self._told is not None and text:
            self._told(text)
