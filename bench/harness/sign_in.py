"""Sign-ins per second compared with the bare hash, and the latency of signed-in pages meanwhile. Sixteen
connections post the correct passwords of a thousand accounts; only 303 counts as a sign-in, and anything else
fails the run."""

import json, os, statistics, subprocess, urllib.parse

from . import machine, servers
from .environment import USERS, Environment, save
from .load import Load, Running

CONNECTIONS = 16
# Four connections, 40 ms on average between two requests: about a hundred pages a second.
PAGES, PAUSE = 4, 40
SCRIPT = """
local n = 0
threads = {}
good, bad = 0, 0
setup = function(thread) threads[#threads + 1] = thread end
request = function()
  n = n + 1
  return wrk.format("POST", "/login", { ["Content-Type"] = "application/x-www-form-urlencoded" },
    "email=user" .. (n % USERS) .. "%40example.com&password=PASSWORD")
end
response = function(status) if status == 303 then good = good + 1 else bad = bad + 1 end end
done = function(summary, latency)
  local good, bad = 0, 0
  for _, thread in ipairs(threads) do good = good + thread:get("good"); bad = bad + thread:get("bad") end
  local e = summary.errors
  io.write(string.format('RESULT{"requests":%d,"micros":%d,"errors":%d,"bad":%d,"p50":%f,"p99":%f}\\n',
    good, summary.duration, e.connect + e.read + e.write + e.timeout, bad, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""


def bare(seconds):
    done = subprocess.run([machine.program("bare_hash"), str(seconds)], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)["rate"]


def run(options):
    with Environment() as environment:
        environment.migrated()
        cookies = environment.signed_in(USERS)
        environment.vacuum()
        server = environment.keep(servers.frontdesk(environment.work, "server", environment.url))
        script = environment.work + "/sign-in.lua"
        with open(script, "w") as out:
            out.write(SCRIPT.replace("USERS", str(USERS)).replace("PASSWORD", urllib.parse.quote_plus(servers.PASSWORD)))
        pages = Load(environment.work, "pages", server.base, servers.PAGE, cookies, "User ")
        pages.check()
        turns = []
        for number in range(options.rounds):
            hash_rate = bare(options.seconds)
            quiet = pages.run(options.seconds, PAGES, PAUSE)
            watched = (server.process.pid, environment.postgres.process.pid)
            before = [machine.cpu(pid) for pid in watched]
            driven = pages.begin(options.seconds, PAGES, PAUSE)
            signing = Running(script, server.base, options.seconds, CONNECTIONS).finish()
            during = pages.finish(driven, PAGES)
            app, store = ((machine.cpu(pid) - was) / signing["requests"] * 1e3 for pid, was in zip(watched, before))
            if signing["bad"] or signing["errors"]:
                raise RuntimeError(f"not every correct password signed in: {signing}")
            turns.append(dict(bare=hash_rate, rate=signing["rate"], ratio=signing["rate"] / hash_rate, p50=signing["p50"], p99=signing["p99"],
                              pages=during["rate"], page_p50=during["p50"], page_p99=during["p99"], page_max=during["max"],
                              quiet_p99=quiet["p99"], app=app, store=store, generator=signing["generator"] / 1e3))
            machine.say(f"round {number + 1} of {options.rounds}: {signing['rate']:.1f} sign-ins/s, bare hash {hash_rate:.1f}/s, "
                        f"p99 of pages {during['p99']:.1f} ms")
        medians = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
        save("sign-in", dict(machine=machine.described(environment.postgres), cores=os.cpu_count(), connections=CONNECTIONS, rounds=options.rounds, seconds=options.seconds,
                             memory=machine.peak_memory(server.process.pid), **medians))
