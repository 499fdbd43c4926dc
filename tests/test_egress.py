"""Addresses that strangers choose: public ones over TLS only, and at every connection looked at anew."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from refill import app
from refill.app import RealWorld
from refill.egress import WrongUrl, callable_url, is_public, place
from refill.world import NoAnswer, NotSent, Request

NOT_PUBLIC = """
    0.0.0.0 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255
    192.0.0.1 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
    255.255.255.255 :: ::1 ::ffff:8.8.8.8 ::ffff:127.0.0.1 ::8.8.8.8 64:ff9b::a00:1 64:ff9b:1::1 100::1 2001::1 2001:10::1
    2001:db8::1 2002:7f00:1::1 3fff::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1 shop.example 127.1 0x7f.1
""".split()
PUBLIC = (
    "8.8.8.8 1.1.1.1 100.63.255.255 172.32.0.1 192.0.1.1 223.5.5.5 2400:3200::1 2606:4700::1111 2a00:1450::1".split()
)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public_is_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_known(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("url", ["https://shop.example/refill?x=1", "https://8.8.8.8/", "https://[2400:3200::1]:8443/"])
def test_an_address_that_everybody_reaches_is_callable(url: str) -> None:
    assert callable_url(url) == url


def test_a_place_of_our_own_network_is_called_only_when_it_is_named() -> None:
    assert place("fd00::5", 443) == "[fd00::5]:443"
    assert callable_url("http://127.0.0.1:8013/x", ["127.0.0.1:8013"]) == "http://127.0.0.1:8013/x"
    assert callable_url("https://[fd00::5]/", ["[fd00::5]:443"]) == "https://[fd00::5]/"
    for url in ("http://127.0.0.1:8014/x", "https://127.0.0.1:8014/x", "http://127.0.0.1:8013@10.0.0.1/"):
        with pytest.raises(WrongUrl):
            callable_url(url, ["127.0.0.1:8013"])


class Peer:
    """A server on loopback that answers each request as it is told."""

    def __init__(self, answer: bytes) -> None:
        self.answer, self.heard = answer, b""
        self.connections = 0

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.heard += await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def peer(answer: bytes) -> AsyncIterator[tuple[Peer, int]]:
    one = Peer(answer)
    server = await asyncio.start_server(one.meet, "127.0.0.1", 0)
    async with server:
        yield one, server.sockets[0].getsockname()[1]


@pytest.fixture
async def world() -> AsyncIterator[Callable[..., RealWorld]]:
    made: list[RealWorld] = []

    def make(*allowed: str) -> RealWorld:
        made.append(RealWorld(allowed))
        return made[-1]

    yield make
    for one in made:
        await one.close()


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """What the resolver answers, one list of addresses for each question; the names that were asked for."""
    asked: list[str] = []
    waiting = list(answers)

    def look_up(host: str, port: int) -> list[str]:
        asked.append(host)
        return waiting.pop(0)

    monkeypatch.setattr(app, "_look_up", look_up)
    return asked


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n\r\nhi"


async def test_an_allowed_place_is_reached_with_its_own_name(world: Callable[..., RealWorld]) -> None:
    async with peer(OK) as (one, port):
        request = Request("POST", f"http://127.0.0.1:{port}/x", {"webhook-id": "1"}, b"{}", guarded=True)
        answer = await world(f"127.0.0.1:{port}").send(request)
        assert (answer.status, answer.body, answer.headers["x-a"]) == (200, b"hi", "b")
        assert f"Host: 127.0.0.1:{port}".encode() in one.heard and b"content-length: 2" in one.heard.lower()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{}/", "https://127.0.0.1:{}/", "https://[::1]:{}/", "https://localhost:{}/"]
)
async def test_loopback_is_not_called(world: Callable[..., RealWorld], url: str) -> None:
    async with peer(OK) as (one, port):
        with pytest.raises(NotSent):
            await world().send(Request("POST", url.format(port), guarded=True))
        assert one.connections == 0


@pytest.mark.parametrize(
    "found", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], []], ids=str
)
async def test_a_name_that_leads_to_a_private_network_is_not_called(
    world: Callable[..., RealWorld], monkeypatch: pytest.MonkeyPatch, found: list[str]
) -> None:
    async with peer(OK) as (one, port):
        asked = names(monkeypatch, found)
        with pytest.raises(NotSent, match="private network"):
            await world().send(Request("POST", f"https://shop.example:{port}/", guarded=True))
        assert (asked, one.connections) == (["shop.example"], 0)


async def test_the_address_that_was_looked_at_is_the_one_that_is_called(
    world: Callable[..., RealWorld], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = names(monkeypatch, ["8.8.8.8", "1.1.1.1"], ["127.0.0.1"])
    connected: list[tuple[str, int]] = []

    async def connect(host: str, port: int, *_: object) -> None:
        connected.append((host, port))
        raise app.httpcore2.ConnectError("closed")

    one = world()
    monkeypatch.setattr(one._guard._wire, "connect_tcp", connect)
    for _ in range(2):  # the second time the name has been bound anew, to ourselves
        with pytest.raises(NotSent):
            await one.send(Request("POST", "https://rebinding.example/", guarded=True))
    assert (asked, connected) == (["rebinding.example"] * 2, [("8.8.8.8", 443), ("1.1.1.1", 443)])


async def test_a_redirect_is_an_answer_and_nothing_follows_it(world: Callable[..., RealWorld]) -> None:
    async with peer(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n") as (one, port):
        answer = await world(f"127.0.0.1:{port}").send(Request("POST", f"http://127.0.0.1:{port}/", guarded=True))
        assert (answer.status, one.connections) == (302, 1)


async def test_of_a_long_answer_only_the_beginning_is_read(world: Callable[..., RealWorld]) -> None:
    async with peer(b"HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n" + b"x" * 100_000) as (_, port):
        request = Request("POST", f"http://127.0.0.1:{port}/", guarded=True, most_bytes=500)
        answer = await world(f"127.0.0.1:{port}").send(request)
        assert answer.body == b"x" * 501


async def test_an_answer_that_never_ends_ends_with_the_time(world: Callable[..., RealWorld]) -> None:
    async with peer(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n") as (one, port):
        one.answer = b""
        request = Request("POST", f"http://127.0.0.1:{port}/", guarded=True, timeout_s=0.3)
        with pytest.raises(NoAnswer):
            await world(f"127.0.0.1:{port}").send(request)


async def test_no_proxy_of_the_environment_is_asked(
    world: Callable[..., RealWorld], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with peer(OK) as (_, port):
        request = Request("POST", f"http://127.0.0.1:{port}/", guarded=True)
        assert (await world(f"127.0.0.1:{port}").send(request)).status == 200


async def test_a_name_that_nobody_knows_is_not_sent(
    world: Callable[..., RealWorld], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(host: str, port: int) -> list[str]:
        raise socket.gaierror("nobody knows it")

    monkeypatch.setattr(app, "_look_up", nobody)
    with pytest.raises(NotSent, match="not found"):
        await world().send(Request("POST", "https://nobody.example/", guarded=True))


def certificate(name: str, folder: Path) -> tuple[Path, Path]:
    """A certificate for a name, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + timedelta(days=1))
    made = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False).sign(key, SHA256())
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


async def test_tls_and_host_know_the_name_although_the_address_is_pinned(
    world: Callable[..., RealWorld], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names(monkeypatch, ["127.0.0.1"], ["127.0.0.1"])
    monkeypatch.setattr(app, "is_public", lambda address: True)  # our own server plays a public one
    cert, key = certificate("shop.example", tmp_path)
    asked: list[str | None] = []
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(cert, key)
    ours.sni_callback = lambda _socket, name, _context: asked.append(name)
    one, real = Peer(OK), world()
    real._guarded._ssl_context.load_verify_locations(cert)
    server = await asyncio.start_server(one.meet, "127.0.0.1", 0, ssl=ours)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answer = await real.send(Request("POST", f"https://shop.example:{port}/", guarded=True))
        with pytest.raises(NotSent, match=r"(?i)certificate|hostname|ssl"):
            await real.send(Request("POST", f"https://other.example:{port}/", guarded=True))
    assert (answer.status, asked) == (200, ["shop.example", "other.example"])
    assert f"Host: shop.example:{port}".encode() in one.heard
    assert one.heard.count(b"POST") == 1
