"""Writing last-seen times: sessions are looked up once, then flushed, through the library as the server does
it. Once an hour a session moves in the purge index; that update cannot be HOT, all others must be."""

import json, os, statistics, subprocess

from . import machine
from .environment import Environment, save

COUNTS = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'sessions'"


def run(options):
    with Environment() as environment:
        environment.migrated()
        environment.fill("Sessions", 0, options.sessions)
        environment.vacuum()
        found = []
        for number in range(options.rounds):
            counts = lambda: [int(each) for each in environment.sql(COUNTS).split("|")]
            before = counts()
            text = subprocess.run([machine.program("touch_flush"), str(options.activities)], env={**os.environ, "DATABASE_URL": environment.url},
                                  check=True, stdout=subprocess.PIPE, text=True).stdout
            done = json.loads(text)
            updated, hot = (now - was for now, was in zip(counts(), before))
            if updated != options.activities or done["activities"] != updated:
                raise RuntimeError(f"{updated} rows were updated, but touch_flush reported {done}")
            may_be_hot = updated - done["crossed"]
            found.append(dict(rate=updated / done["seconds"], hot=hot / updated, hot_within_hour=hot / may_be_hot))
            machine.say(f"round {number + 1} of {options.rounds}: {found[-1]['rate']:,.0f} updates/s, {hot:,} of {updated:,} HOT, "
                        f"{done['crossed']:,} moved to the next hour of the purge index")
        save("touch", dict(machine=machine.described(environment.postgres), sessions=options.sessions, activities=options.activities,
                           rounds=options.rounds, rate=statistics.median(each["rate"] for each in found),
                           hot=min(each["hot"] for each in found), hot_within_hour=min(each["hot_within_hour"] for each in found)))
