"""Real servers on this machine that answer webhooks as badly as a test wants, and certificates for them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Endpoint:
    """What a server has seen. sent_bytes counts what it could hand to the connection."""

    port: int = 0
    accepted: int = 0
    requests: list[bytes] = field(default_factory=list)
    sent_bytes: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}/hook"

    def header(self, name: str) -> str | None:
        """Return a header of the last request."""
        for line in self.requests[-1].split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]:
            found, _, value = line.partition(": ")
            if found == name:
                return value
        return None


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
    return head + await reader.readexactly(length)


@asynccontextmanager
async def endpoint(
    behaviour: Behaviour | bytes,
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Endpoint]:
    """Serve on a port of its own: bytes are the answer to every request, read whole first."""
    seen = Endpoint()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            if callable(behaviour):
                await behaviour(reader, writer)
            else:
                seen.requests.append(await read_request(reader))
                writer.write(behaviour)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # we were hung up on, or the test is over
        finally:
            seen.ended.set()
            tasks.discard(task)
            if callable(behaviour):
                writer.transport.abort()
            else:
                writer.close()

    # On every address of this machine when host is empty: one port, whichever family calls.
    listener = socket.create_server((host, 0)) if host or not socket.has_dualstack_ipv6() else None
    listener = listener or socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    server = await asyncio.start_server(serve, sock=listener, ssl=tls)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def pieces(*parts: bytes, pause_s: float = 0.0, first: float = 0.0) -> Behaviour:
    """Read the request, then send the parts one by one, and then nothing more for ever."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(first)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)
        await reader.read()

    return behave


async def never_answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await read_request(reader)
    await reader.read()


async def never_read(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.Event().wait()


def drip(answer: bytes, pause_s: float) -> Behaviour:
    return pieces(*(bytes((byte,)) for byte in answer), pause_s=pause_s)


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        today = datetime.now(UTC)
        self.certificate = (
            self._builder(self._name, self._key.public_key(), today - timedelta(days=30), today + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, *hosts: str, expired: bool = False) -> ssl.SSLContext:
        """Make a server's context with a certificate for these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        today = datetime.now(UTC)
        until = today - timedelta(days=1) if expired else today + timedelta(days=10)
        identifiers = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            self._builder(x509.Name([]), key.public_key(), today - timedelta(days=20), until)
            .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=True)
            .add_extension(identifiers, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = self._folder / f"{hosts[0]}-{expired}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, start: datetime, end: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
        )


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    return [x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts]
