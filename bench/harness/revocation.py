"""How soon a revoked session is refused by every server. Each round takes a session that every server has
just served from its cache and revokes it (by POST /logout on one of them, or by DELETE in psql). From the
response on, it sends requests to every server in turn until all have refused. After a logout, no server may
accept the session even once."""

import time

from . import machine, servers
from .browser import Connection
from .environment import Environment, save
from .postgres import Psql


def milliseconds(values):
    values = sorted(values)
    return dict(p50=values[len(values) // 2], p99=values[min(len(values) - 1, len(values) * 99 // 100)], max=values[-1])


def refused_everywhere(connections, cookie, since):
    """Milliseconds until the last server has refused, and how often the session was accepted before."""
    accepted, remaining = 0, list(connections)
    while remaining:
        remaining = [each for each in remaining if each.status("GET", servers.PAGE, cookie) == 200]
        accepted += len(remaining)
        if time.perf_counter() - since > 10:
            raise RuntimeError("a revoked session was accepted for ten seconds")
    return (time.perf_counter() - since) * 1000, accepted


def rounds(sessions, psql, connections, how):
    answers, delays, accepted = [], [], 0
    for number, (digest, cookie) in enumerate(sessions):
        for connection in connections:
            if connection.status("GET", servers.PAGE, cookie) != 200 or connection.status("GET", servers.PAGE, cookie) != 200:
                raise RuntimeError("a live session was refused")
        if how == "logout":
            began = time.perf_counter()
            if connections[number % len(connections)].status("POST", "/logout", cookie) != 303:
                raise RuntimeError("the sign-out failed")
        else:
            began = time.perf_counter()
            psql.run(f"DELETE FROM sessions WHERE token_digest = '\\x{digest}' RETURNING 1")
        answered = time.perf_counter()
        answers.append((answered - began) * 1000)
        delay, after = refused_everywhere(connections, cookie, answered)
        delays.append(delay)
        accepted += after
    return dict(answer=milliseconds(answers), delay=milliseconds(delays), accepted=accepted)


def run(options):
    rows = []
    with Environment() as environment:
        environment.migrated()
        psql = Psql(environment.postgres, "frontdesk")
        environment.callback(psql.close)
        running = []
        for count in (1, 2, 3):
            running.append(environment.keep(servers.frontdesk(environment.work, f"server-{count}", environment.url)))
            time.sleep(2)
            for how in ("logout", "delete"):
                sessions = environment.insert_sessions(options.rounds)
                found = rounds(sessions, psql, [Connection(server.port) for server in running], how)
                machine.say(f"{count} servers, {how}: the response took {found['answer']['p50']:.2f} ms, p99 {found['answer']['p99']:.2f}; "
                            f"refused everywhere after {found['delay']['p50']:.2f} ms, p99 {found['delay']['p99']:.2f}, "
                            f"max {found['delay']['max']:.2f}; accepted meanwhile: {found['accepted']}")
                if how == "logout" and found["accepted"]:
                    raise RuntimeError("a session was accepted after its logout had been answered")
                rows.append(dict(servers=count, how=how, **found))
        save("revocation", dict(machine=machine.described(environment.postgres), rounds=options.rounds, rows=rows))
