"""Sign-outs on many servers at a steady rate: what the wait for the other servers costs. Each sign-out goes to one
of the servers in turn; all of them use their caches. Transactions are those of PostgreSQL in that time, less those
of the same servers at rest; a flush is a write of the log that waited for the disk."""

import queue, threading, time

from . import machine, servers
from .browser import Connection
from .environment import Environment, save
from .revocation import milliseconds

CLIENTS = 32


def counters(environment):
    """Commits, transactions that wrote or notified, and flushes of the log."""
    environment.sql("SELECT pg_stat_force_next_flush()")
    row = environment.sql("SELECT sum(xact_commit), pg_snapshot_xmax(pg_current_snapshot()), (SELECT wal_sync FROM pg_stat_wal) FROM pg_stat_database WHERE datname = 'frontdesk'")
    return [int(part) for part in row.split("|")]


def sign_out(running, work, answers, problems):
    while (turn := work.get()) is not None:
        number, cookie, due = turn
        time.sleep(max(0, due - time.perf_counter()))
        # A new connection for each sign-out, as for different users.
        connection = Connection(running[number % len(running)].port)
        began = time.perf_counter()
        status = connection.status("POST", "/logout", cookie)
        connection.socket.close()
        if status != 303:
            problems.append(status)
        answers.append((time.perf_counter() - began) * 1000)


def run(options):
    with Environment() as environment:
        environment.migrated()
        running = [environment.keep(servers.frontdesk(environment.work, f"server-{n}", environment.url)) for n in range(options.servers)]
        cookies = environment.signed_in(options.rate * options.seconds)
        time.sleep(3)
        before = counters(environment)
        time.sleep(options.seconds)
        rest = [after - first for after, first in zip(counters(environment), before)]
        work, answers, problems = queue.Queue(), [], []
        clients = [threading.Thread(target=sign_out, args=(running, work, answers, problems)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        before, began = counters(environment), time.perf_counter()
        for number, cookie in enumerate(cookies):
            work.put((number, cookie, began + number / options.rate))
        for client in clients:
            work.put(None)
        for client in clients:
            client.join()
        took = time.perf_counter() - began
        commits, writes, flushes = ((after - first - idle * took / options.seconds) / len(cookies)
                            for after, first, idle in zip(counters(environment), before, rest))
        if problems:
            raise RuntimeError(f"{len(problems)} sign-outs failed, with status {set(problems)}")
        answer = milliseconds(answers)
        machine.say(f"{options.servers} servers, {len(cookies) / took:.0f} sign-outs a second: {commits:.1f} commits a sign-out, {writes:.1f} of them with writes or notifications, and {flushes:.2f} flushes; "
                    f"p50 {answer['p50']:.1f} ms, p99 {answer['p99']:.1f} ms")
        save("sign-outs", dict(machine=machine.described(environment.postgres), servers=options.servers, wanted=options.rate, rate=len(cookies) / took,
                               commits=commits, writes=writes, flushes=flushes, answer=answer))
