"""The commands of bench/run and their settings."""

import argparse

from . import footprint, growth, micro, pages, purge, report, revocation, side_by_side, sign_in, sign_outs, site, touch

# For each part: its module, its help, and its settings with their defaults.
PARTS = {
    "side-by-side": (side_by_side, "compare the same signed-in page on ten stacks", dict(seconds=5, rounds=5, sessions=200_000, only="")),
    "pages": (pages, "measure what Frontdesk's layers, a session and the log cost", dict(seconds=3, rounds=7, sessions=200_000)),
    "growth": (growth, "measure the same page while the table grows", dict(seconds=5, rounds=5, sizes="10000,200000,10000000")),
    "purge": (purge, "purge millions of expired rows", dict(seconds=8, rounds=3, rows=10_000_000, live=100_000)),
    "touch": (touch, "write last-seen times", dict(rounds=5, sessions=200_000, activities=100_000)),
    "sign-in": (sign_in, "compare sign-ins with the bare hash", dict(seconds=10, rounds=5)),
    "revocation": (revocation, "measure the revocation of a session on one, two and three servers", dict(rounds=500)),
    "sign-outs": (sign_outs, "sign out on many servers at a steady rate", dict(servers=8, rate=200, seconds=10)),
    "footprint": (footprint, "measure the memory of a session and the startup time", dict(sessions=100_000, starts=20)),
    "site": (site, "measure a site on the crate: rates, open connections, builds, lines and starts", dict(seconds=3, rounds=7, only="", builds=False, before="")),
    "micro": (micro, "run the micro benchmarks of benches/", dict()),
}


def main(words, help_text):
    parser = argparse.ArgumentParser(description=help_text, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="part", required=True)
    for name, (_, text, settings) in PARTS.items():
        command = commands.add_parser(name, help=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        for setting, default in settings.items():
            kind = dict(action="store_true") if default is False else dict(type=type(default), default=default)
            command.add_argument(f"--{setting}", help=" ", **kind)
    commands.add_parser("all", help="run every part with its defaults")
    commands.add_parser("report", help="write RESULTS.md again from results/")
    # The default command is side-by-side.
    if not words or (words[0].startswith("--") and words[0] != "--help"):
        words = ["side-by-side", *words]
    options = parser.parse_args(words)
    if options.part != "report":
        for name, (part, _, _) in PARTS.items():
            if options.part in (name, "all"):
                part.run(parser.parse_args([name]) if options.part == "all" else options)
                report.write()
    else:
        report.write()
