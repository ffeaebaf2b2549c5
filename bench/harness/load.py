"""Load from wrk, which builds every request once before it starts and then only picks one per call. wrk must
not be the bottleneck, so its own CPU time is measured too.

`check` inspects every response: 200, with the page of a signed-in user. `run` measures and inspects no
response; each must be below 400, and their total length must match that of the checked responses (a redirect
has a tenth of the length of a page)."""

import json, os, subprocess

SCRIPT = """
local requests, count, n = {{}}, 0, 0
threads = {{}}
bad = 0
setup = function(thread) threads[#threads + 1] = thread end
init = function()
  for cookie in io.lines("{cookies}") do
    count = count + 1
    local headers = {{}}
    if cookie ~= "" then headers["Cookie"] = cookie end
    requests[count] = wrk.format("GET", "{path}", headers)
  end
end
request = function()
  n = n % count + 1
  return requests[n]
end
{extra}
done = function(summary, latency)
  local wrong = 0
  for _, thread in ipairs(threads) do wrong = wrong + thread:get("bad") end
  local e = summary.errors
  io.write(string.format('RESULT{{"requests":%d,"micros":%d,"bytes":%d,"errors":%d,"bad":%d,"p50":%f,"p99":%f,"max":%f}}\\n',
    summary.requests, summary.duration, summary.bytes, e.connect + e.read + e.write + e.status + e.timeout, wrong,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
"""
LOOK = """
response = function(status, headers, body)
  if status ~= 200 or not string.find(body, "{mark}", 1, true) then bad = bad + 1 end
end
"""
PAUSE = "delay = function() return math.random({low}, {high}) end"


class Running:
    """A running wrk process."""

    def __init__(self, script, base, seconds, connections):
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script, base]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self):
        text = self.process.stdout.read()
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        line = next((line for line in text.splitlines() if line.startswith("RESULT")), None)
        if line is None:
            raise RuntimeError("wrk: " + text)
        result = json.loads(line.removeprefix("RESULT"))
        result["rate"] = result["requests"] / result["micros"] * 1e6
        result["generator"] = (used.ru_utime + used.ru_stime) / max(1, result["requests"]) * 1e6
        return result


class Load:
    """A page, the cookies that its requests use in turn, and a mark that only a signed-in page contains."""

    def __init__(self, work, name, base, path, cookies, mark):
        self.stem, self.name, self.base, self.path, self.mark = os.path.join(work, f"load-{name}"), name, base, path, mark
        with open(self.stem + ".cookies", "w") as out:
            out.writelines(cookie + "\n" for cookie in cookies or [""])

    def start(self, seconds, connections=16, extra=""):
        script = f"{self.stem}.lua"
        with open(script, "w") as out:
            out.write(SCRIPT.format(cookies=self.stem + ".cookies", path=self.path, extra=extra))
        return Running(script, self.base, seconds, connections)

    def check(self, seconds=1, connections=16):
        """Warms up the server and inspects every response."""
        result = self.start(seconds, connections, LOOK.format(mark=self.mark)).finish()
        if result["errors"] or result["bad"] or not result["requests"]:
            raise RuntimeError(f"{self.name}: not every response was 200 and signed in: {result}")
        self.length, self.unsure = result["bytes"] / result["requests"], connections / result["requests"]
        return result

    def run(self, seconds, connections=16, pause=None):
        """Measures; `pause` is the average number of milliseconds between two requests of a connection."""
        return self.finish(self.begin(seconds, connections, pause), connections)

    def begin(self, seconds, connections=16, pause=None):
        extra = PAUSE.format(low=max(1, pause // 2), high=pause * 3 // 2) if pause else ""
        return self.start(seconds, connections, extra)

    def finish(self, running, connections=16):
        result = running.finish()
        length = result["bytes"] / max(1, result["requests"])
        # wrk counts the bytes of responses that were incomplete at the end, but not those responses.
        unsure = 0.01 + self.unsure + connections / max(1, result["requests"])
        if result["errors"] or abs(length / self.length - 1) > unsure:
            raise RuntimeError(f"{self.name}: not every response was the signed-in page: {result}, {self.length} bytes expected")
        return result
