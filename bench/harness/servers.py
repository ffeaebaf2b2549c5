"""Starts and stops servers; Frontdesk's settings."""

import os, signal, subprocess, sys, time, urllib.error, urllib.request

from . import machine

KEY = "tK8vQ2mZx7Lr4Wc9Ns1Bp6Hd3Yg5Jf0aEuViOoTbXkRlPzM"
PASSWORD = "quiet corner with a lamp"
PAGE = "/account/profile"


class Server:
    def __init__(self, work, name, command, env, ready="/login", every=0.1, folder=None):
        self.name, self.port = name, int(env["PORT"])
        self.base = f"http://127.0.0.1:{self.port}"
        self.log = open(os.path.join(work, f"{name}.log"), "a")
        self.began = time.perf_counter()
        env = {name: value for name, value in {**os.environ, **env}.items() if value is not None}
        self.process = subprocess.Popen(command, env=env, stdout=self.log, stderr=self.log, start_new_session=True, cwd=folder)
        self.wait(ready, every)

    def wait(self, ready, every):
        for _ in range(int(1800 / every)):
            try:
                urllib.request.urlopen(self.base + ready, timeout=2)
                self.ready_after = time.perf_counter() - self.began
                return
            except OSError:
                pass
            if self.process.poll() is not None:
                sys.exit(f"{self.name} did not start:\n" + open(self.log.name).read()[-2000:])
            time.sleep(every)
        sys.exit(f"{self.name} does not answer")

    def stop(self):
        if self.process.poll() is not None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(20)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(self.process.pid, signal.SIGKILL)


def environment(url, log="warn", **settings):
    """Frontdesk's environment; the names in `settings` lack the prefix FRONTDESK_. `log=None`: the default
    settings of the log."""
    return {"DATABASE_URL": url, "FRONTDESK_SECRET_KEYS": KEY, "RUST_LOG": log,
            **{f"FRONTDESK_{name}": str(value) for name, value in settings.items()}}


def frontdesk(work, name, url, every=0.1, ready="/login", program=None, **settings):
    """`program`: another one than `frontdesk`, such as that of a site."""
    port = machine.free_port()
    settings = {"WORKERS": 2, "BIND": f"127.0.0.1:{port}", "PUBLIC_URL": f"http://127.0.0.1:{port}", **settings}
    env = {"PORT": str(port), **environment(url, **settings)}
    return Server(work, name, [program or machine.program()], env, ready, every)


def bench_program(work, name, **env):
    """One of the programs in bench/programs that serve a page."""
    return Server(work, name, [machine.program(name)], {"PORT": str(machine.free_port()), **env})


def command(url, *words, program=None, **settings):
    """Runs `frontdesk …` and returns its output."""
    return subprocess.run([program or machine.program(), *words], env={**os.environ, **environment(url, **settings)}, check=True,
                          stdout=subprocess.PIPE, text=True).stdout
