"""Millions of expired rows: how pages slow down while a server deletes them in the background, and how fast
the command deletes the rest.

One server, set to purge every second, is measured alternately: quiet, while this script holds the purge's
advisory lock, so that the server believes another server is purging; and purging, with the lock released.
Each time it serves pages once at a steady pace, about a thousand a second, and once as fast as possible."""

import json, statistics

from . import machine, servers
from .environment import USERS, Environment, save
from .load import Load
from .postgres import Psql

LOCK = "('x66726f6e7464736b'::bit(64))::bigint"
# Average milliseconds between two requests of each of the sixteen connections.
PAUSE = 16


def run(options):
    with Environment() as environment:
        environment.migrated()
        cookies = environment.signed_in(USERS)
        environment.fill("Live sessions", 0, max(0, options.live - USERS))
        lock = Psql(environment.postgres, "frontdesk")
        environment.callback(lock.close)
        lock.run(f"SELECT pg_advisory_lock({LOCK})")
        environment.fill("Expired sessions", 0, options.rows, "now() - interval '2 hours'", "expired")
        environment.vacuum()
        expired = lambda: int(environment.sql("SELECT count(*) FROM sessions WHERE expires_at <= now()"))
        live = lambda: int(environment.sql("SELECT count(*) FROM sessions WHERE expires_at > now()"))
        # PostgreSQL's counter; it may lag by a second.
        deleted_ever = lambda: int(environment.sql("SELECT n_tup_del FROM pg_stat_user_tables WHERE relname = 'sessions'"))
        some_left = lambda: environment.sql("SELECT EXISTS (SELECT FROM sessions WHERE purge_after <= now())") == "t"
        was_live, turns = live(), []
        server = environment.keep(servers.frontdesk(environment.work, "server", environment.url, PURGE_INTERVAL="1s"))
        load = Load(environment.work, "pages", server.base, servers.PAGE, cookies, "User ")
        for number in range(options.rounds):
            turn = {}
            for purging in (False, True):
                for kind, pause in (("paced", PAUSE), ("full", None)):
                    load.check()
                    if purging:
                        lock.run(f"SELECT pg_advisory_unlock({LOCK})")
                        load.run(3, pause=PAUSE)
                    before = deleted_ever()
                    found = load.run(options.seconds, pause=pause)
                    deleted = deleted_ever() - before
                    if purging:
                        lock.run(f"SELECT pg_advisory_lock({LOCK})")
                    if purging and (deleted == 0 or not some_left()):
                        raise RuntimeError("the purge did not run all the time: use more rows or fewer rounds")
                    name = f"{kind}-{'purging' if purging else 'quiet'}"
                    turn[name] = dict(rate=found["rate"], p50=found["p50"], p99=found["p99"], deleted=deleted / options.seconds)
                    machine.say(f"round {number + 1} of {options.rounds}: {name}: {found['rate']:,.0f} requests/s, "
                                f"p99 {found['p99']:.2f} ms, {deleted / options.seconds:,.0f} rows deleted a second")
            turns.append(turn)
        server.stop()
        lock.run(f"SELECT pg_advisory_unlock({LOCK})")
        environment.vacuum()
        machine.say("Purging the rest at full pace.")
        purged = json.loads(servers.command(environment.url, "session", "purge", "--json"))
        if expired() or live() != was_live:
            raise RuntimeError("the purge left expired rows, or deleted live ones")
        medians = {name: {key: statistics.median(turn[name][key] for turn in turns) for key in turns[0][name]} for name in turns[0]}
        ratio = lambda kind: statistics.median(turn[f"{kind}-purging"]["p99"] / turn[f"{kind}-quiet"]["p99"] for turn in turns)
        save("purge", dict(
            machine=machine.described(environment.postgres), rows=options.rows, live=was_live, rounds=options.rounds, seconds=options.seconds,
            deleted=purged["deleted"], took=purged["seconds"], rate=purged["deleted"] / purged["seconds"], turns=medians,
            paced_ratio=ratio("paced"), full_ratio=ratio("full")))
