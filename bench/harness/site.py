"""A site on the crate: `examples/notes`. Its pages beside the same pages without Frontdesk's layers or sessions, its lines
beside those of the same site on other crates, open connections at a sign-out (`tests/site`), builds, starts and memory.

`--only` measures some of it. The builds from nothing (`--builds`) and the page of an older program (`--before`) need an
option. What is not measured keeps its figures."""

import json, os, statistics, time

from . import machine, servers, site_developer, site_lines, site_live
from .environment import USERS, Environment, save
from .side_by_side import Competitor, compare_pages, own, ratios_of, rounds

NOTES = 20
PROGRAMS = ["signed_in_cookies", "plain_notes", "notes_start_page", "notes_without_sessions"]
# Cargo's own settings, which a new site has, for all programs of this part.
PROFILE = {"CARGO_PROFILE_RELEASE_LTO": "false", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16", "CARGO_PROFILE_RELEASE_STRIP": "debuginfo"}
OVERRIDES = 40
STARTS = 20


def build(folder, name):
    """Builds a site, and returns its program."""
    machine.say(f"Building {name}.")
    site_developer.cargo(os.path.join(machine.ROOT, folder), "build", "--release", "--locked", "--quiet", **PROFILE)
    return os.path.join(machine.TARGET, "release", name)


def insert_notes(environment):
    environment.sql(f"""
        DELETE FROM notes;
        INSERT INTO notes (owner_id, body)
        SELECT id, 'Note ' || n || ': remember the milk & bread, and to return the books on Friday' FROM users, generate_series(1, {NOTES}) AS n;
        VACUUM ANALYZE notes""")


def pages(environment, notes, url, options):
    """The two pages of the notes site and the same pages without sessions; returns their rows and ratios."""
    # Where the programs of bench/programs find the files.
    os.environ["SITE"] = os.path.join(machine.ROOT, "examples", "notes")
    outside_program = machine.program("notes_without_sessions")
    environment.migrated("outside", outside_program, schema="frontdesk")
    outside_url, environment.database = environment.url, "notes"
    # The user of the first cookie.
    owner, email = environment.sql("SELECT id, email FROM users ORDER BY email OFFSET 1 LIMIT 1").split("|")
    site = environment.keep(servers.frontdesk(environment.work, "notes", url, program=notes))
    cookies, mark = environment.signed_in(USERS), f"Note {NOTES}:"
    bare = environment.keep(servers.bench_program(environment.work, "plain_notes", DATABASE_URL=f"{url}?options=-csearch_path%3Dpublic", OWNER=owner, EMAIL=email))
    layers = environment.keep(servers.bench_program(environment.work, "notes_start_page"))
    outside = environment.keep(servers.frontdesk(environment.work, "outside", outside_url, program=outside_program))
    chosen = [
        Competitor("plain-notes", f"`/notes` with {NOTES} notes: actix-web, tera and sqlx, none of Frontdesk's layers", path="/notes", mark=mark),
        Competitor("notes", f"`/notes` with {NOTES} notes: the site, signed in", path="/notes", mark=mark),
        Competitor("start-layers", "`/`: Frontdesk's layers without sessions", path="/", mark="Keep your notes"),
        Competitor("start-outside", "`/`: the site, outside of the session middleware", path="/", mark="Keep your notes"),
        Competitor("start", "`/`: the site, signed out", path="/", mark="Keep your notes"),
    ]
    for each, server in zip(chosen, (bare, site, layers, outside, site)):
        each.server = server
        each.cookies = cookies if each.name == "notes" else [""]
    for group in (chosen[:2], chosen[2:]):
        compare_pages(group)
    for each in chosen:
        each.ready(environment.work)
    rounds(chosen, options.rounds, options.seconds, environment)
    environment.database = "frontdesk"
    return dict(rounds=options.rounds, seconds=options.seconds, rows=[each.result() for each in chosen], ratios=ratios_of(chosen, [
        ("requests/s of `/notes`, to bare actix-web", "notes", "plain-notes", "rate", "≥ 0.75"),
        ("CPU a request of `/notes`, to bare actix-web", "notes", "plain-notes", "app", ""),
        ("requests/s of `/` signed out, to the page without sessions", "start", "start-layers", "rate", "≥ 0.95"),
        ("CPU a request of `/` signed out, to the page without sessions", "start", "start-layers", "app", ""),
        ("CPU a request of `/` signed out, to the same site outside of the session middleware", "start", "start-outside", "app", ""),
    ]))


def compare_with(environment, before, options):
    """CPU of the profile page of an older program and of this one, on databases of their own."""
    chosen = []
    for name, program in [("before", before), ("after", machine.program())]:
        environment.migrated(f"profile_{name}", program)
        competitor = own(name, name)
        competitor.server = environment.keep(servers.frontdesk(environment.work, name, environment.url, program=program))
        competitor.cookies = environment.signed_in(USERS)
        competitor.ready(environment.work)
        chosen.append(competitor)
    rounds(chosen, options.rounds, options.seconds, environment)
    return {each.name: each.result()["app"] for each in chosen}


def copied_templates(environment):
    """A folder with copies of forty of Frontdesk's pages, components and mails."""
    folder = os.path.join(environment.work, "overrides")
    os.mkdir(folder)
    listed = json.loads(servers.command(environment.url, "template", "list", "--json"))
    for row in listed[:OVERRIDES]:
        servers.command(environment.url, "template", "copy", row["name"], TEMPLATES_DIR=folder)
    return folder


def overrides(environment):
    """Milliseconds of a start without and with replaced templates, in turn, and of `template check` with them."""
    folder, times, checks = copied_templates(environment), {"without": [], "with": []}, []
    for _ in range(STARTS):
        for name, settings in [("without", {}), ("with", dict(TEMPLATES_DIR=folder))]:
            server = servers.frontdesk(environment.work, "start", environment.url, every=0.001, **settings)
            times[name].append(server.ready_after * 1000)
            server.stop()
    for _ in range(5):
        began = time.perf_counter()
        output = servers.command(environment.url, "template", "check", TEMPLATES_DIR=folder)
        checks.append((time.perf_counter() - began) * 1000)
    medians = {name: statistics.median(each) for name, each in times.items()}
    found = dict(files=OVERRIDES, starts=STARTS, **medians, more=statistics.median(b - a for a, b in zip(*times.values())),
                 check=statistics.median(checks), checked=output.strip())
    machine.say(f"start {found['without']:.0f} ms, with {OVERRIDES} replaced templates {found['with']:.0f}; template check {found['check']:.0f} ms: {found['checked']}")
    return found


def idle(environment, notes_url, notes, count=5):
    """Resident memory of a server at rest after its first page: the plain program, and the notes site."""
    sizes = {"plain": [], "notes": []}
    for _ in range(count):
        for name, url, program in [("plain", environment.url, None), ("notes", notes_url, notes)]:
            server = servers.frontdesk(environment.work, "idle", url, program=program)
            time.sleep(3)
            sizes[name].append(machine.memory(server.process.pid))
            server.stop()
    found = {name: statistics.median(each) for name, each in sizes.items()}
    machine.say(f"at rest: {found['plain'] / 2**20:.1f} MiB, the notes site {found['notes'] / 2**20:.1f}")
    return found


def kept():
    path = os.path.join(machine.HERE, "results", "site.json")
    return json.load(open(path)) if os.path.exists(path) else {}


def measures(environment, options):
    """Each measurement by its name; those with an option are left out without it."""
    notes = build("examples/notes", "notes")
    environment.migrated("notes", notes, schema="frontdesk")
    notes_url = environment.url
    insert_notes(environment)
    environment.migrated()
    found = {
        "pages": lambda: pages(environment, notes, notes_url, options),
        "idle": lambda: idle(environment, notes_url, notes),
        "overrides": lambda: overrides(environment),
        "lines": lambda: site_lines.run(environment, notes),
        "developer": lambda: site_developer.run(environment),
        "crates": lambda: site_developer.crates(site_developer.NOTES, "normal,build"),
        "features": site_developer.features,
        "live": lambda: site_live.run(environment, build("tests/site", "site-under-test")),
    }
    if options.builds:
        found["builds"] = lambda: site_developer.builds(environment.work)
        found["watcher"] = site_developer.watcher
    if options.before:
        found["before"] = lambda: compare_with(environment, options.before, options)
    return found


def run(options):
    only = [name for name in options.only.split(",") if name]
    found = kept()
    with Environment(PROGRAMS, PROFILE) as environment:
        for name, measure in measures(environment, options).items():
            if not only or name in only:
                found[name] = measure()
                save("site", dict(found, machine=machine.described(environment.postgres)))
