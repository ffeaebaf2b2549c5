"""The same signed-in page on Frontdesk and on its alternatives."""

import os, re, statistics, subprocess

from . import browser, machine, servers
from .environment import USERS, Environment, save
from .load import Load

PEER_PASSWORD = "benchmark-password"
# Pages without sessions, by name: their programs.
WITHOUT_SESSIONS = {"plain": "plain_page", "page": "page_without_sessions"}
SAMPLE = 20


class Competitor:
    """One stack: its page, its sessions and its measurements."""

    def __init__(self, name, title, path="/account", password=PEER_PASSWORD, mark="User "):
        self.name, self.title, self.path, self.password, self.mark = name, title, path, password, mark
        self.rounds, self.cookies = [], []

    def ready(self, work):
        self.load = Load(work, self.name, self.server.base, self.path, self.cookies, self.mark)
        self.check_sample()
        self.load.check()

    def check_sample(self):
        """Checks the page of about twenty of the sessions, without wrk."""
        for cookie in self.cookies[:: max(1, len(self.cookies) // SAMPLE)]:
            self.size = len(browser.get(self.server.base, self.path, cookie, self.mark))

    def first_page(self):
        return browser.get(self.server.base, self.path, self.cookies[0], self.mark)

    def measure(self, seconds, environment, redis=None):
        self.check_sample()
        self.load.run(1)
        watched = [self.server.process.pid, environment.postgres.process.pid] + ([redis] if redis else [])
        before = [machine.cpu(pid) for pid in watched]
        found = self.load.run(seconds)
        spent = [(machine.cpu(pid) - was) / found["requests"] * 1e6 for pid, was in zip(watched, before)]
        self.check_sample()
        self.rounds.append(dict(rate=found["rate"], p50=found["p50"], p99=found["p99"], app=spent[0], store=sum(spent[1:]),
                                generator=found["generator"], memory=machine.memory(self.server.process.pid)))

    def result(self):
        medians = {key: statistics.median(each[key] for each in self.rounds) for key in self.rounds[0]}
        return dict(name=self.name, title=self.title, size=self.size, **medians)


def own(name, title, mark="User "):
    return Competitor(name, title, path=servers.PAGE, password=servers.PASSWORD, mark=mark)


def own_pages():
    """The same page with more and more of Frontdesk."""
    return [
        own("plain", "plain actix-web and tera, the same HTML, none of Frontdesk's layers"),
        own("page", "Frontdesk's page without sessions"),
        own("cache-on", "Frontdesk, no log"),
        own("log-text", "Frontdesk, default settings, log to a file"),
        own("log-json", "Frontdesk, default settings, JSON log to a file"),
    ]


def competitors():
    return [
        *own_pages(),
        own("cache-off", "Frontdesk, cache off, no log"),
        Competitor("actix-plain", "actix-session, a plain PostgreSQL store"),
        Competitor("actix-redis", "actix-session, Redis store"),
        Competitor("axum-login", "axum-login, tower-sessions on PostgreSQL"),
        Competitor("nestjs-redis", "NestJS, connect-redis"),
        Competitor("nestjs-pg", "NestJS, connect-pg-simple"),
        Competitor("django-cached_db", "Django, cached_db"),
        Competitor("django-db", "Django, db"),
    ]


def start_own(competitor, environment):
    name, work, url = competitor.name, environment.work, environment.url
    if name in WITHOUT_SESSIONS:
        competitor.server = servers.bench_program(work, WITHOUT_SESSIONS[name])
    elif name.startswith("log-"):
        competitor.server = servers.frontdesk(work, name, url, log=None, LOG=name.removeprefix("log-"))
    else:
        competitor.server = servers.frontdesk(work, name, url, SESSION_CACHE=name.removeprefix("cache-"))
    environment.keep(competitor.server)


def start_peer(competitor, environment, redis_url, created):
    name, store = competitor.name, ""
    if name.startswith(("nestjs-", "django-")):
        name, store = name.split("-", 1)
    database = name.replace("-", "_")
    if database not in created:
        environment.postgres.create(database)
        created.add(database)
    env = {"PORT": str(machine.free_port()), "DATABASE_URL": environment.postgres.url(database), "REDIS_URL": redis_url,
           "USERS": str(USERS), "STORE": store}
    run = os.path.join(machine.HERE, "peers", name, "run")
    competitor.server = environment.keep(servers.Server(environment.work, competitor.name, [run], env, every=0.5))


def sign_in(chosen):
    """Signs every user in with a password. Frontdesk's servers share the database and so the sessions. Requests
    for the pages without sessions send the same cookies."""
    emails = [f"user{n}@example.com" for n in range(USERS)]
    shared = None
    for competitor in sorted(chosen, key=lambda each: each.name in WITHOUT_SESSIONS):
        is_own = competitor.path == servers.PAGE
        if is_own and shared:
            competitor.cookies = shared
        elif competitor.name not in WITHOUT_SESSIONS:
            machine.say(f"Signing in on {competitor.title}.")
            competitor.cookies = browser.login_all(competitor.server.base, emails, competitor.password)
            shared = competitor.cookies if is_own else shared


def compare_pages(same):
    """Fails unless the pages are the same, byte for byte. The random value of a form's hidden field has the same length."""
    pages = {re.sub(r'(?<=name="form_token" value=")[^"]+', lambda found: "-" * len(found[0]), each.first_page()) for each in same}
    if len(pages) > 1:
        raise RuntimeError("the pages differ")


def ratios(chosen):
    return ratios_of(chosen, [
        ("CPU a request of Frontdesk's page without sessions, to plain actix-web and tera", "page", "plain", "app", "≤ 1.15"),
        ("CPU a request of Frontdesk, to its page without sessions", "cache-on", "page", "app", "≤ 1.2"),
        ("requests/s of Frontdesk, to its page without sessions", "cache-on", "page", "rate", "≥ 0.90"),
        ("requests/s with default settings and a log file, to no log", "log-text", "cache-on", "rate", "≥ 0.92"),
        ("requests/s with default settings and a JSON log file, to no log", "log-json", "cache-on", "rate", "≥ 0.92"),
        ("requests/s of Frontdesk, to actix-session's Redis store", "cache-on", "actix-redis", "rate", "≥ 7"),
        ("requests/s of Frontdesk, to NestJS with connect-pg-simple", "cache-on", "nestjs-pg", "rate", "≥ 45"),
        ("requests/s with the cache off, to a plain PostgreSQL store", "cache-off", "actix-plain", "rate", "≥ 4"),
    ])


def ratios_of(chosen, pairs):
    """For each of `pairs`: the median of the ratios of the rounds, if both were measured."""
    by_name = {competitor.name: competitor for competitor in chosen}
    found = []
    for title, a, b, key, wanted in pairs:
        if a in by_name and b in by_name:
            both = zip(by_name[a].rounds, by_name[b].rounds)
            found.append(dict(title=title, measured=statistics.median(x[key] / y[key] for x, y in both), wanted=wanted))
    return found


def rounds(chosen, count, seconds, environment, redis=None):
    for number in range(count):
        for competitor in chosen:
            competitor.measure(seconds, environment, redis)
            machine.say(f"round {number + 1} of {count}: {competitor.title}: {competitor.rounds[-1]['rate']:,.0f} requests/s")


def measure(chosen, options, environment, start=start_own, redis=None):
    environment.migrated()
    environment.fill("Sessions", 0, options.sessions)
    for competitor in chosen:
        machine.say(f"Starting {competitor.title}.")
        start(competitor, environment)
    sign_in(chosen)
    compare_pages([each for each in chosen if each.path == servers.PAGE])
    environment.vacuum()
    for competitor in chosen:
        competitor.ready(environment.work)
    rounds(chosen, options.rounds, options.seconds, environment, redis)
    return dict(sessions=options.sessions, cookies=USERS, rounds=options.rounds, seconds=options.seconds,
                rows=[each.result() for each in chosen], ratios=ratios(chosen))


def run(options):
    only = [name for name in options.only.split(",") if name]
    chosen = [each for each in competitors() if not only or each.name in only]
    machine.install("redis-server")
    with Environment() as environment:
        port = machine.free_port()
        redis = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
                                 stdout=subprocess.DEVNULL)
        environment.callback(redis.terminate)
        created = set()

        def start(competitor, environment):
            if competitor.path == servers.PAGE:
                start_own(competitor, environment)
            else:
                start_peer(competitor, environment, f"redis://127.0.0.1:{port}", created)

        found = measure(chosen, options, environment, start, redis.pid)
        versions = [machine.described(environment.postgres), "Node " + machine.version("node --version"),
                    machine.version("python3 --version"), " ".join(machine.version("redis-server --version").split()[:3])]
        save("side-by-side", dict(machine=", ".join(versions), partial=bool(only), **found))
