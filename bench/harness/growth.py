"""The same page while the table grows: cached sessions should be unaffected, and lookups almost
unaffected."""

import statistics

from . import machine
from .environment import USERS, Environment, save
from .side_by_side import own, rounds, start_own


def run(options):
    sizes = sorted(int(size) for size in options.sizes.split(","))
    chosen = [own("page", "page without sessions"), own("cache-on", "cache on"), own("cache-off", "cache off")]
    levels = []
    with Environment() as environment:
        environment.migrated()
        cookies = environment.signed_in(USERS)
        for competitor in chosen:
            start_own(competitor, environment)
            competitor.cookies = cookies
        existing = USERS
        for size in sizes:
            if size > existing:
                environment.fill(f"Up to {size:,} sessions", existing, size)
                existing = size
            environment.vacuum()
            for competitor in chosen:
                competitor.rounds = []
                competitor.ready(environment.work)
            rounds(chosen, options.rounds, options.seconds, environment)
            table, indexes = environment.sql("SELECT pg_table_size('sessions'), pg_indexes_size('sessions')").split("|")
            page, on, _ = chosen
            levels.append(dict(
                sessions=int(environment.sql("SELECT count(*) FROM sessions")), table=int(table), indexes=int(indexes),
                rows=[competitor.result() for competitor in chosen],
                ratio=statistics.median(x["rate"] / y["rate"] for x, y in zip(on.rounds, page.rounds))))
        save("growth", dict(machine=machine.described(environment.postgres), cookies=USERS, rounds=options.rounds, seconds=options.seconds,
                            levels=levels))
