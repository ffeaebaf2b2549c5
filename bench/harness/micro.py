"""Runs the micro benchmarks of benches/ and collects criterion's results."""

import glob, json, os, subprocess, sys

from . import machine
from .environment import save


def run(options):
    subprocess.run(["cargo", "bench", "--locked", "--quiet", "--bench", "hot_path"], check=True, cwd=machine.ROOT, stdout=sys.stderr)
    rows = []
    for path in glob.glob(os.path.join(machine.TARGET, "criterion", "*", "new", "estimates.json")):
        title = json.load(open(os.path.join(os.path.dirname(path), "benchmark.json")))["full_id"]
        rows.append(dict(title=title, nanoseconds=json.load(open(path))["median"]["point_estimate"]))
        machine.say(f"{title}: {rows[-1]['nanoseconds']:,.0f} ns")
    save("micro", dict(machine=machine.described(), rows=sorted(rows, key=lambda row: row["title"])))
