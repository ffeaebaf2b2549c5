"""Memory per cached session, and startup time."""

import re, statistics, time, urllib.request

from . import machine, servers
from .environment import USERS, Environment, save
from .load import Load


def cached(metrics):
    text = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics").read().decode()
    return int(re.search(r"(?m)^frontdesk_session_cache_entries (\d+)", text)[1])


def session_bytes(environment, count):
    """Resident memory of a warmed-up server before and after `count` sessions enter its cache."""
    few, many = environment.signed_in(USERS), environment.signed_in(count)
    environment.vacuum()
    metrics = machine.free_port()
    server = environment.keep(servers.frontdesk(environment.work, "server", environment.url, SESSION_CACHE_SIZE=count * 3, METRICS_BIND=f"127.0.0.1:{metrics}"))
    Load(environment.work, "few", server.base, servers.PAGE, few, "User ").check(5)
    time.sleep(3)
    before, entries_before = machine.memory(server.process.pid), cached(metrics)
    load = Load(environment.work, "many", server.base, servers.PAGE, many, "User ")
    for _ in range(30):
        if cached(metrics) >= count + entries_before:
            break
        # Each run starts again with the first cookie, so it must be long enough to reach the last.
        load.check(max(5, count // 8000))
    else:
        raise RuntimeError(f"only {cached(metrics)} sessions are in the cache")
    time.sleep(3)
    after, entries = machine.memory(server.process.pid), cached(metrics)
    server.stop()
    machine.say(f"{entries - entries_before:,} more sessions in memory: {(after - before) / 2**20:.1f} MiB more")
    return dict(before=before, after=after, entries=entries - entries_before, each=(after - before) / (entries - entries_before))


def starts(environment, count):
    """Milliseconds from exec to the first 200."""
    times = []
    for _ in range(count):
        server = servers.frontdesk(environment.work, "start", environment.url, every=0.001)
        times.append(server.ready_after * 1000)
        server.stop()
    machine.say(f"{count} starts: median {statistics.median(times):.0f} ms, longest {max(times):.0f} ms")
    return dict(median=statistics.median(times), max=max(times), count=count)


def run(options):
    with Environment() as environment:
        environment.migrated()
        start = starts(environment, options.starts)
        memory = session_bytes(environment, options.sessions)
        save("footprint", dict(machine=machine.described(environment.postgres), start=start, memory=memory))
