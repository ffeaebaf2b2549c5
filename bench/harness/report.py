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
