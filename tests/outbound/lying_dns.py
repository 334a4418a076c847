"""A resolver that says what a test tells it, and an ear on every connection and look-up that this process attempts."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any


class LyingDns:
    """Each look-up of a name takes its next answer, the last one for ever; a name without answers does not exist."""

    def __init__(self, **answers: Sequence[Sequence[str] | None]) -> None:
        self._answers = {name.replace("_", "."): list(said) for name, said in answers.items()}
        self.asked: list[str] = []

    def says(self, name: str, *answers: Sequence[str] | None) -> None:
        self._answers[name] = list(answers)

    async def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        said = self._answers.get(name, [None])
        answer = said.pop(0) if len(said) > 1 else said[0]
        if answer is None:
            raise OSError(-2, "Name or service not known")
        return answer


async def silent_dns(_: str) -> Sequence[str]:
    await asyncio.Event().wait()
    return []


@dataclass
class Ear:
    """What was attempted, as the interpreter reports it just before the system is asked. Nothing leaves this machine."""

    connects: list[tuple[str, int]] = field(default_factory=list)
    lookups: list[str] = field(default_factory=list)


_ears: list[Ear] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _ears:
        return
    if event == "socket.getaddrinfo":
        _ears[-1].lookups.append(str(arguments[0]))
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host, port = arguments[1][:2]
        _ears[-1].connects.append((host, port))
        if not ip_address(host).is_loopback:
            raise ConnectionRefusedError(f"a test does not connect to {host}")


sys.addaudithook(_hear)


@contextmanager
def listening_in() -> Iterator[Ear]:
    ear = Ear()
    _ears.append(ear)
    try:
        yield ear
    finally:
        _ears.remove(ear)
