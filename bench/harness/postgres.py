"""A temporary PostgreSQL server, and a psql that stays open."""

import glob, os, shutil, signal, subprocess, time

from . import machine

SETTINGS = dict(max_connections=200, shared_buffers="1GB", max_wal_size="8GB", work_mem="32MB")


class PostgreSql:
    def __init__(self, work):
        self.bin = sorted(glob.glob("/usr/lib/postgresql/*/bin") + glob.glob("/opt/homebrew/opt/postgresql*/bin"))[-1]
        self.port = machine.free_port()
        self.data = os.path.join(work, "pg")
        self.user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        os.mkdir(self.data)
        if self.user:
            shutil.chown(self.data, "postgres", "postgres")
        subprocess.run([f"{self.bin}/initdb", "-D", f"{self.data}/d", "-A", "trust", "-U", "bench", "-E", "UTF8", "--locale=C"],
                       check=True, stdout=subprocess.DEVNULL, cwd="/", **self.user)
        settings = dict(listen_addresses="127.0.0.1", port=self.port, unix_socket_directories=self.data, **SETTINGS)
        args = [x for k, v in settings.items() for x in ("-c", f"{k}={v}")]
        self.process = subprocess.Popen([f"{self.bin}/postgres", "-D", f"{self.data}/d", *args], cwd="/",
                                        stdout=subprocess.DEVNULL, stderr=open(os.path.join(work, "pg.log"), "w"), **self.user)
        for _ in range(100):
            if subprocess.run([f"{self.bin}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError("PostgreSQL does not answer")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def url(self, name):
        return f"postgres://bench@127.0.0.1:{self.port}/{name}"

    def create(self, name):
        subprocess.run([f"{self.bin}/createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "bench", name], check=True)

    def psql(self, name):
        return [f"{self.bin}/psql", "-qAtX", "-v", "ON_ERROR_STOP=1", self.url(name)]

    def sql(self, name, text):
        """Runs `text` (statements, or psql's own commands with their data) and returns its output."""
        done = subprocess.run(self.psql(name), input=text, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()


class Psql:
    """One connection that stays open, for statements that must not wait for a new connection."""

    def __init__(self, postgres, name):
        self.process = subprocess.Popen(postgres.psql(name), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, text):
        """Returns one line of output; the statement must return one row."""
        self.process.stdin.write(text + ";\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("psql exited")
        return line.strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
