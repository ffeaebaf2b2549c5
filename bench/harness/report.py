"""Generates RESULTS.md from results/; a part that was not run again keeps its figures."""

import json, os

from . import charts, machine

MIB = 2**20


def table(head, rows):
    """A Markdown table: the first column is text, the others are figures."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def side_by_side(r):
    yield (f"The same signed-in page, {r['cookies']:,} sessions in turn over 16 connections, {r['sessions']:,} sessions in Frontdesk's table, "
           f"{r['rounds']} interleaved rounds of {r['seconds']} s, medians; load generator, servers and databases on one machine. "
           "How each peer is set up: [peers/README.md](peers/README.md).")
    yield from ["", "![requests a second](results.svg)", ""]
    yield from table(
        ["", "requests/s", "p50 ms", "p99 ms", "CPU of the application, µs a request", "of database and Redis", "of the load generator", "memory, MiB", "page, bytes"],
        [[s["title"], f"{s['rate']:,.0f}", f"{s['p50']:.2f}", f"{s['p99']:.2f}", f"{s['app']:,.1f}", f"{s['store']:,.1f}",
          f"{s['generator']:.1f}" if "generator" in s else "", f"{s['memory'] / MIB:,.0f}", f"{s['size']:,}"] for s in r["rows"]])
    if r["ratios"]:
        yield from table(["ratio", "measured", "wanted"], [[x["title"], f"{x['measured']:.2f}", x["wanted"]] for x in r["ratios"]])


def pages(r):
    yield (f"The same page, {r['cookies']:,} sessions in turn over 16 connections, {r['sessions']:,} sessions in the table, {r['rounds']} interleaved "
           f"rounds of {r['seconds']} s, medians. The HTML is the same in every row, byte for byte. The CPU of the log thread is part of the application's.")
    yield ""
    yield from table(
        ["", "requests/s", "p99 ms", "CPU of the application, µs a request"],
        [[s["title"], f"{s['rate']:,.0f}", f"{s['p99']:.2f}", f"{s['app']:,.1f}"] for s in r["rows"]])
    yield from table(["ratio", "measured", "wanted"], [[x["title"], f"{x['measured']:.2f}", x["wanted"]] for x in r["ratios"]])


def growth(r):
    yield (f"The same page while the table grows, {r['cookies']:,} sessions in turn, {r['rounds']} interleaved rounds of {r['seconds']} s, medians.")
    yield from ["", "![requests a second while the table grows](growth.svg)", ""]
    rows = []
    for level in r["levels"]:
        page, on, off = level["rows"]
        rows.append([f"{level['sessions']:,}", f"{page['rate']:,.0f}", f"{on['rate']:,.0f}", f"{on['p99']:.2f}", f"{off['rate']:,.0f}", f"{off['p99']:.2f}",
                     f"{off['store']:.1f}", f"{level['ratio']:.2f}", f"{level['table'] / MIB:,.0f} + {level['indexes'] / MIB:,.0f}"])
    yield from table(["sessions", "page without sessions, requests/s", "cache on", "its p99 ms", "cache off", "its p99 ms", "its CPU of the database, µs",
                      "cache on to page (wanted ≥ 0.90)", "table + indexes, MiB"], rows)


def purge(r):
    yield (f"{r['rows']:,} expired rows beside {r['live']:,} live ones. First a server purges in the background, at its limited rate, while "
           f"it serves signed-in pages: {r['rounds']} interleaved rounds of {r['seconds']} s, with the purge paused and running, medians. "
           "Then `frontdesk session purge` deletes the rest. No live row was deleted.")
    yield ""
    turns = r["turns"]
    rows = []
    for kind, title in (("paced", "at a steady pace"), ("full", "as fast as possible")):
        quiet, purging = turns[f"{kind}-quiet"], turns[f"{kind}-purging"]
        rows.append([f"pages {title}", f"{quiet['rate']:,.0f}", f"{purging['rate']:,.0f}", f"{quiet['p99']:.2f}", f"{purging['p99']:.2f}",
                     f"{r[f'{kind}_ratio']:.2f}", "≤ 1.5", f"{purging['deleted']:,.0f}"])
    yield from table(["", "requests/s, quiet", "purging", "p99 ms, quiet", "purging", "ratio of p99", "wanted", "rows deleted a second"], rows)
    yield from table(["full pace", "measured", "wanted"],
                     [[f"rows a second ({r['deleted']:,} in {r['took']:.0f} s)", f"{r['rate']:,.0f}", "≥ 50,000"]])


def touch(r):
    yield (f"{r['activities']:,} sessions looked up once each through the library, then flushed, in a table of {r['sessions']:,} more; "
           f"{r['rounds']} rounds, median rate, lowest HOT share.")
    yield ""
    yield from table(["", "measured", "wanted"], [
        ["last-seen times written a second", f"{r['rate']:,.0f}", ""],
        ["HOT, of updates that stay in their hour of the purge index", f"{r['hot_within_hour']:.2%}", "100 %"],
        ["HOT, of all updates", f"{r['hot']:.2%}", ""]])


def sign_in(r):
    yield (f"Correct passwords posted over {r['connections']} connections, while signed-in pages are requested about a hundred times a second; the bare hash is "
           f"argon2id with the same parameters on every core and nothing else; {r['rounds']} interleaved rounds of {r['seconds']} s, medians.")
    yield ""
    yield from table(["", "measured", "wanted"], [
        ["bare hashes a second", f"{r['bare']:.1f}", ""],
        ["sign-ins a second", f"{r['rate']:.1f}", ""],
        ["ratio", f"{r['ratio']:.2f}", "≥ 0.95"],
        [f"CPU of a sign-in, ms: application / database / load generator (a bare hash: {r['cores'] * 1000 / r['bare']:.1f})",
         f"{r['app']:.1f} / {r['store']:.2f} / {r['generator']:.2f}", ""],
        ["p50 / p99 of a sign-in, ms", f"{r['p50']:.0f} / {r['p99']:.0f}", ""],
        ["p50 / p99 of signed-in pages meanwhile, ms", f"{r['page_p50']:.2f} / {r['page_p99']:.1f}", "p99 ≤ 50"],
        ["p99 of signed-in pages without sign-ins, ms", f"{r['quiet_p99']:.2f}", ""],
        ["peak memory of the process, MiB", f"{r['memory'] / MIB:.0f}", "< 114 (120 MB)"]])


def revocation(r):
    yield (f"{r['rounds']:,} sessions each, cached by every server, revoked by POST /logout on one of them or by DELETE in psql; after that response, "
           "requests go to every server in turn until all have refused. So the delay is at least the time of those requests.")
    yield ""
    rows = []
    for each in r["rows"]:
        how = "logout" if each["how"] == "logout" else "DELETE in psql"
        spans = [f"{each[name]['p50']:.2f} / {each[name]['p99']:.2f} / {each[name]['max']:.2f}" for name in ("answer", "delay")]
        rows.append([f"{how}, {each['servers']} server{'s' if each['servers'] > 1 else ''}", *spans, str(each["accepted"]), "0" if each["how"] == "logout" else ""])
    yield from table(["", "response time, ms: p50 / p99 / max", "from the response until refused everywhere", "accepted after the response", "wanted"], rows)


def sign_outs(r):
    yield (f"{r['wanted']} sign-outs a second, spread over {r['servers']} servers that all use their caches; each is answered when no server accepts the session.")
    yield ""
    yield from table(["", "measured"], [
        ["sign-outs a second", f"{r['rate']:.0f}"],
        ["commits a sign-out", f"{r['commits']:.1f}"],
        ["of them with writes or notifications", f"{r['writes']:.1f}"],
        ["flushes of the log a sign-out", f"{r['flushes']:.2f}"],
        ["response time, ms: p50 / p99 / max", f"{r['answer']['p50']:.1f} / {r['answer']['p99']:.1f} / {r['answer']['max']:.1f}"]])


def footprint(r):
    memory, start = r["memory"], r["start"]
    yield from table(["", "measured", "wanted"], [
        [f"bytes a session in memory ({memory['entries']:,} of them, {memory['before'] / MIB:.0f} MiB before, {memory['after'] / MIB:.0f} after)",
         f"{memory['each']:,.0f}", "≤ 1,024"],
        [f"start to the first 200 on a migrated database, ms: median / longest of {start['count']}", f"{start['median']:.0f} / {start['max']:.0f}", "≤ 150"]])


def micro(r):
    yield from table(["", "ns"], [[row["title"], f"{row['nanoseconds']:,.0f}"] for row in r["rows"]])


def site_pages(r):
    pages = r["pages"]
    yield (f"Pages of the notes site over 16 connections, {pages['rounds']} interleaved rounds of {pages['seconds']} s, medians. The HTML of both rows of a page is the "
           "same, byte for byte, but for the random hidden value of forms. All programs have the allocator and the build settings of a new site. "
           "The statement of `/notes` goes through a pool with the same settings.")
    yield ""
    yield from table(
        ["", "requests/s", "p99 ms", "CPU of the application, µs a request", "of the database", "page, bytes"],
        [[s["title"], f"{s['rate']:,.0f}", f"{s['p99']:.2f}", f"{s['app']:,.1f}", f"{s['store']:,.1f}", f"{s['size']:,}"] for s in pages["rows"]])
    yield from table(["ratio", "measured", "wanted"], [[x["title"], f"{x['measured']:.2f}", x["wanted"]] for x in pages["ratios"]])


def site_costs(r):
    """What was measured, one row each."""
    if "overrides" in r:
        found = r["overrides"]
        yield [f"start with {found['files']} replaced templates, ms more than {found['without']:.0f}", f"{found['more']:.0f}", "≤ 50"]
        yield [f"`template check` with them ({found['checked'].removeprefix('OK: ').removesuffix('.')}), s", f"{found['check'] / 1000:.2f}", "≤ 2"]
    if "idle" in r:
        plain, notes = (r["idle"][name] / MIB for name in ("plain", "notes"))
        yield [f"memory at rest, MiB more than the program `frontdesk`, which has mimalloc and takes {plain:.1f}", f"{notes - plain:.1f}", "≤ 3"]
    if "before" in r:
        before, after = r["before"]["before"], r["before"]["after"]
        yield [f"CPU of the profile page with the catalog of messages, µs: {before:.1f} before, {after:.1f} after", f"{after / before - 1:+.1%}", "≤ 3 %"]
    if "builds" in r:
        yield ["build of the notes site from nothing, debug, s", f"{r['builds']['debug']:.0f}", "≤ 240"]
        yield ["the same, release, s", f"{r['builds']['release']:.0f}", ""]
    if "crates" in r:
        yield ["crates compiled for it", f"{r['crates']}", ""]
    if "developer" in r:
        found = r["developer"]
        how = ", without debug information" if found["debug"] == "0" else ""
        yield [f"build after a change of a handler{how}, s", f"{found['rebuild']:.1f}", "≤ 10"]
        yield [f"first request after a change of a template, ms ({found['template']['unchanged']:.0f} otherwise)", f"{found['template']['changed']:.0f}", "no build"]
        yield [f"`frontdesk new` to the first page, with compiled crates and a private PostgreSQL{how}, s", f"{found['page']:.1f}", "≤ 60"]
        yield ["the tutorial's commands that build nothing, s", f"{found['commands']:.2f}", ""]


def site_features(r):
    found = r["features"]
    yield from table(["feature of the crate", "crates less without it, of all that a program needs"],
                     [[f"`{row['name']}`", f"{row['less']}"] for row in found["rows"]]
                     + [["all of them", f"{found['everything'] - found['nothing']} of {found['everything']}"]])


def site_lines(r):
    own, *others = r["lines"]
    least = min(others, key=lambda row: row["rust"])
    yield "Lines that are not blank and have more than a comment; each site was used before. What the others leave out: [peers/README.md](peers/README.md#notes)."
    yield ""
    yield from table(["lines", "Rust", "wanted", "everything"], [
        [own["title"], f"{own['rust']}", "≤ 80", f"{own['all']}"],
        *([row["title"], f"{row['rust']}", "", f"{row['all']}"] for row in others),
        [f"the notes site, to the next ({least['title']})", f"{own['rust'] / least['rust']:.2f}", "≤ 0.33", f"{own['all'] / min(row['all'] for row in others):.2f}"]])


def site_live(r):
    live = r["live"]
    yield (f"From a sign-out on one server to the end of an open connection on another one; {live['rounds']} rounds each, one connection at a time. "
           "A watched session is what the end of a connection needs; an open event stream has also its buffers and its task.")
    yield ""
    yield from table(["", "p50 ms", "wanted", "p99 ms", "wanted", "max ms"],
                     [[row["kind"], f"{row['p50']:.1f}", "≤ 50", f"{row['p99']:.1f}", "≤ 250", f"{row['max']:.1f}"] for row in live["rows"]])
    watcher = [["bytes of a watched session, computed from its parts", f"{r['watcher']}", "≤ 200"]] if "watcher" in r else []
    yield from table(["", "measured", "wanted"], [*watcher, [f"memory of an open event stream, all included ({live['streams']:,} of them), KiB", f"{live['each'] / 1024:.1f}", ""]])


def site(r):
    """What was not measured yet has no table."""
    if "pages" in r:
        yield from site_pages(r)
    yield from table(["the notes site on two cores", "measured", "wanted"], list(site_costs(r)))
    for name, section in [("features", site_features), ("lines", site_lines), ("live", site_live)]:
        if name in r:
            yield from section(r)


PARTS = [
    ("side-by-side", "Side by side", side_by_side),
    ("pages", "The page, layer by layer", pages),
    ("growth", "Growth", growth),
    ("purge", "Purge", purge),
    ("touch", "Last-seen times", touch),
    ("sign-in", "Sign-in", sign_in),
    ("revocation", "Revocation across servers", revocation),
    ("sign-outs", "Sign-outs on eight servers", sign_outs),
    ("footprint", "Memory and startup", footprint),
    ("site", "A site on the crate", site),
    ("micro", "The hot path, part by part", micro),
]


def write():
    lines = ["# Results", "", "Generated by `bench/run`; each part is described at the top of its file in [harness](harness). "
             "A part that was not run again keeps its figures.", ""]
    for name, title, section in PARTS:
        path = os.path.join(machine.HERE, "results", f"{name}.json")
        if os.path.exists(path):
            found = json.load(open(path))
            lines += [f"## {title}", "", *section(found), f"<sub>{found['machine']}</sub>", ""]
            charts.draw(name, found)
    with open(os.path.join(machine.HERE, "RESULTS.md"), "w") as out:
        out.write("\n".join(lines).rstrip() + "\n")
    machine.say("Wrote bench/RESULTS.md.")
