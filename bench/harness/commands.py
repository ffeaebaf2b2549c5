"""The commands of bench/run and their settings."""

import argparse

from . import footprint, growth, micro, purge, report, revocation, side_by_side, sign_in, touch

# For each part: what it runs, its help, its settings with their defaults.
PARTS = {
    "side-by-side": (side_by_side, "the same signed-in page on ten stacks", dict(seconds=5, rounds=5, sessions=200_000, only="")),
    "growth": (growth, "the same page while the table grows", dict(seconds=5, rounds=5, sizes="10000,200000,10000000")),
    "purge": (purge, "millions of expired rows", dict(seconds=8, rounds=3, rows=10_000_000, live=100_000)),
    "touch": (touch, "writing activity", dict(rounds=5, sessions=200_000, activities=100_000)),
    "sign-in": (sign_in, "signing in, against the bare hash", dict(seconds=10, rounds=5)),
    "revocation": (revocation, "the end of a session on one, two and three servers", dict(rounds=500)),
    "footprint": (footprint, "memory of a session, time of a start", dict(sessions=100_000, starts=20)),
    "micro": (micro, "the micro benchmarks of benches/", dict()),
}


def main(words, help_text):
    parser = argparse.ArgumentParser(description=help_text, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="part", required=True)
    for name, (_, text, settings) in PARTS.items():
        command = commands.add_parser(name, help=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        for setting, default in settings.items():
            command.add_argument(f"--{setting}", type=type(default), default=default, help=" ")
    commands.add_parser("all", help="every part with its defaults")
    commands.add_parser("report", help="RESULTS.md anew from results/")
    # Without a command: the comparison, with its settings.
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
