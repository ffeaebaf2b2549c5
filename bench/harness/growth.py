"""The same page while the table grows: cached sessions should be unaffected, and lookups almost
unaffected."""

import statistics

from . import machine
from .ground import USERS, Ground, save
from .side_by_side import own, rounds, start_own


def run(options):
    sizes = sorted(int(size) for size in options.sizes.split(","))
    chosen = [own("page", "page without sessions", mark="Ada"), own("cache-on", "cache on"), own("cache-off", "cache off")]
    levels = []
    with Ground() as ground:
        ground.migrated()
        cookies = ground.signed_in(USERS)
        for competitor in chosen:
            start_own(competitor, ground)
            competitor.cookies = cookies
        existing = USERS
        for size in sizes:
            if size > existing:
                ground.fill(f"Up to {size:,} sessions", existing, size)
                existing = size
            ground.settle()
            for competitor in chosen:
                competitor.rounds = []
                competitor.ready(ground.work)
            rounds(chosen, options.rounds, options.seconds, ground)
            table, indexes = ground.sql("SELECT pg_table_size('sessions'), pg_indexes_size('sessions')").split("|")
            page, on, _ = chosen
            levels.append(dict(
                sessions=int(ground.sql("SELECT count(*) FROM sessions")), table=int(table), indexes=int(indexes),
                rows=[competitor.result() for competitor in chosen],
                ratio=statistics.median(x["rate"] / y["rate"] for x, y in zip(on.rounds, page.rounds))))
        save("growth", dict(machine=machine.described(ground.postgres), cookies=USERS, rounds=options.rounds, seconds=options.seconds,
                            levels=levels))
