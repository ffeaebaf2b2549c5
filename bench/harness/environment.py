"""The environment of every part: a folder, a PostgreSQL, servers that are stopped with it, and rows to fill the
tables. Indexes, constraints and triggers stay in place while rows are inserted."""

import contextlib, json, os, shutil, subprocess, tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed

from . import browser, machine, servers
from .postgres import PostgreSql

USERS = 1000
CHUNK = 50_000
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


class Environment(contextlib.ExitStack):
    """`programs`: those of bench/programs that the part needs. `profile`: settings of Cargo for the build."""

    def __init__(self, programs=machine.PROGRAMS, profile={}):
        super().__init__()
        self.database = "frontdesk"
        machine.install("wrk")
        machine.build(programs, profile)
        self.work = tempfile.mkdtemp()
        os.chmod(self.work, 0o755)
        self.callback(shutil.rmtree, self.work, ignore_errors=True)
        self.postgres = PostgreSql(self.work)
        self.callback(self.postgres.stop)

    def keep(self, server):
        """Registers `server` to be stopped at the end, and returns it."""
        self.callback(server.stop)
        return server

    @property
    def url(self):
        return self.postgres.url(self.database)

    def sql(self, text):
        return self.postgres.sql(self.database, text)

    def migrated(self, database="frontdesk", program=None, schema="public"):
        """Creates a database with its tables and a thousand accounts with the same password, without sessions, and uses
        it from now on. `program`: another one than `frontdesk`; `schema`: where it keeps Frontdesk's tables."""
        self.postgres.create(database)
        self.database = database
        self.sql(f"ALTER DATABASE {database} SET search_path = {schema}, public")
        servers.command(self.url, "migrate", "run", program=program)
        server = servers.frontdesk(self.work, "setup", self.url, program=program)
        try:
            browser.post(server.base, "/register", {"email": "user0@example.com", "display_name": "User 0", "password": servers.PASSWORD})
        finally:
            server.stop()
        self.sql(f"""
            DELETE FROM sessions;
            INSERT INTO users (id, email, email_canonical, display_name, password_hash, password_changed_at)
            SELECT gen_random_uuid(), 'user' || n || '@example.com', 'user' || n || '@example.com', 'User ' || n, password_hash, now()
              FROM users, generate_series(1, {USERS - 1}) AS n WHERE email = 'user0@example.com';
            VACUUM ANALYZE users""")

    def signed_in(self, count):
        """Inserts `count` sessions and returns their cookies."""
        return [cookie for _, cookie in self.insert_sessions(count)]

    def insert_sessions(self, count):
        """Inserts `count` sessions and returns the digest and the cookie of each."""
        env = {**os.environ, "FRONTDESK_SECRET_KEYS": servers.KEY}
        created = subprocess.run([machine.program("signed_in_cookies"), str(count)], env=env, check=True, stdout=subprocess.PIPE, text=True)
        pairs = [line.split("\t") for line in created.stdout.splitlines()]
        copied = "".join(f"\\\\x{digest}\n" for digest, _ in pairs)
        self.sql(f"""
            CREATE TEMP TABLE created (n int GENERATED ALWAYS AS IDENTITY, digest bytea);
            COPY created (digest) FROM STDIN;\n{copied}\\.
            """ + rows("created.digest", "FROM created", "created.n", "now() + interval '14 days'"))
        return pairs

    def fill(self, title, first, last, expires="now() + interval '14 days'", kind="other"):
        """Inserts the rows `first` to `last`, sessions that no client uses."""
        chunks = [(n, min(n + CHUNK, last) - 1) for n in range(first, last, CHUNK)]

        def insert(chunk):
            source = "FROM generate_series({}, {}) AS n".format(*chunk)
            self.sql("SET synchronous_commit = off;" + rows(f"sha256(convert_to('{kind}' || n, 'UTF8'))", source, "n", expires))
            return chunk[1] - chunk[0] + 1

        done = 0
        with ThreadPoolExecutor(2) as pool:
            for finished in as_completed([pool.submit(insert, chunk) for chunk in chunks]):
                done += finished.result()
                machine.progress(title, done, last - first)

    def vacuum(self):
        """Vacuums the table, so that every part starts from the same state."""
        self.sql("VACUUM ANALYZE sessions; CHECKPOINT")


def rows(digest, source, number, expires):
    return f"""
        WITH accounts AS MATERIALIZED (SELECT array_agg(id ORDER BY email) AS ids FROM users)
        INSERT INTO sessions (token_digest, id, user_id, authenticated_at, auth_methods, ip_address, user_agent,
                              idle_timeout, expires_at, absolute_expires_at)
        SELECT {digest}, gen_random_uuid(), ids[{number} % {USERS} + 1], now(), '{{pwd}}', '203.0.113.7', '{AGENT}',
               interval '14 days', {expires}, {expires} + interval '76 days'
          {source} CROSS JOIN accounts"""


def save(name, result):
    """Saves the results of a part for the report."""
    path = os.path.join(machine.HERE, "results", f"{name}.json")
    with open(path, "w") as out:
        json.dump(result, out, indent=1, ensure_ascii=False)
        out.write("\n")
