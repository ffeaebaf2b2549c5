"""From a sign-out on one server to the end of an open connection on another one. Each round opens an event stream or a
WebSocket on the second server, signs out on the first, and waits for the end of the stream or the closing frame. The
time begins with the first byte of the sign-out. After that, memory: many more event streams on one server."""

import os, socket, time

from . import machine, servers
from .revocation import milliseconds

HANDSHAKE = ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
             "Origin: http://127.0.0.1:{port}\r\n")
# For each kind: its path, more lines of the request, and what comes when it is open.
KINDS = {"event stream": ("/listen", "", b"data: listening\n\n"), "WebSocket": ("/socket", HANDSHAKE, b"\r\n\r\n")}
# The last chunk of a stream (RFC 9112, 7.1), and the first byte of the frame that closes a WebSocket.
LAST_CHUNK, CLOSING = b"0\r\n\r\n", b"\x88"


def connect(server, kind, cookie):
    path, more, opened = KINDS[kind]
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.settimeout(30)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nCookie: {cookie}\r\n{more.format(port=server.port)}\r\n".encode())
    text = b""
    while opened not in text:
        part = connection.recv(65536)
        if not part:
            raise RuntimeError(f"the {kind} was refused: {text}")
        text += part
    if kind == "WebSocket" and not text.startswith(b"HTTP/1.1 101"):
        raise RuntimeError(f"the WebSocket was refused: {text}")
    return connection


def until_end(connection, kind):
    """Waits for the end of the stream, or for the closing frame; each message before would fail the run."""
    while part := connection.recv(65536):
        if part.startswith(CLOSING) if kind == "WebSocket" else part.endswith(LAST_CHUNK):
            return
        if b"data:" in part or kind == "WebSocket":
            raise RuntimeError(f"a message came from the {kind}: {part}")


def closed_after(first, second, kind, cookie):
    """Milliseconds from the sign-out on the first server to the end of the connection on the second, and to the response."""
    connection = connect(second, kind, cookie)
    other = socket.create_connection(("127.0.0.1", first.port))
    form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n"
    began = time.perf_counter()
    other.sendall(f"POST /logout HTTP/1.1\r\nHost: 127.0.0.1:{first.port}\r\nCookie: {cookie}\r\n{form}\r\n".encode())
    until_end(connection, kind)
    closed = (time.perf_counter() - began) * 1000
    answer = other.recv(65536)
    if not answer.startswith(b"HTTP/1.1 303"):
        raise RuntimeError(f"the sign-out failed: {answer}")
    connection.close()
    other.close()
    return closed


def stream_bytes(server, cookies):
    """Resident memory of a server before and after each of `cookies` opened an event stream, for each."""
    before = machine.memory(server.process.pid)
    streams = [connect(server, "event stream", cookie) for cookie in cookies]
    after = machine.memory(server.process.pid)
    for stream in streams:
        stream.close()
    return (after - before) / len(streams)


def run(environment, program, rounds=300, streams=1000):
    """`program`: that of tests/site."""
    # A setting of that site.
    os.environ["SHOP_GREETING"] = "Hello"
    environment.migrated("live", program, schema="frontdesk")
    settings = dict(program=program, SESSION_CACHE="on")
    first, second = (environment.keep(servers.frontdesk(environment.work, f"live-{n}", environment.url, **settings)) for n in (1, 2))
    time.sleep(3)
    cookies = iter(environment.signed_in(2 * (rounds + 10)))
    times = {kind: [] for kind in KINDS}
    for number in range(-10, rounds):
        for kind in KINDS:
            took = closed_after(first, second, kind, next(cookies))
            # The first ones open the connections of the pools.
            if number >= 0:
                times[kind].append(took)
    rows = [dict(kind=kind, **milliseconds(found)) for kind, found in times.items()]
    for row in rows:
        machine.say(f"{row['kind']}: closed {row['p50']:.1f} ms after the sign-out on another server, p99 {row['p99']:.1f}, max {row['max']:.1f}")
    each = stream_bytes(second, environment.signed_in(streams))
    machine.say(f"an open event stream: {each / 1024:.1f} KiB")
    return dict(rounds=rounds, rows=rows, streams=streams, each=each)
