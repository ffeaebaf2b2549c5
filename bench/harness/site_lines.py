"""The lines of the notes site, and of the same site on other crates. Every site is started and used first, so that the
lines are those of a site that works: register, write a note, see it, delete it, sign out, sign in."""

import glob, http.cookiejar, os, re, urllib.error, urllib.parse, urllib.request

from . import machine, servers

SITES = [
    ("notes", "the notes site", "examples/notes"),
    ("notes-axum-login", "on axum-login", "bench/peers/notes-axum-login"),
    ("notes-actix-session", "on actix-session alone", "bench/peers/notes-actix-session"),
]
# How comments begin and end, by the ending of the file; a line with nothing else does not count.
COMMENTS = {".rs": (r"//.*",), ".toml": ("#.*",), ".sql": ("--.*",), ".ftl": ("#.*",), ".css": (r"/\*.*\*/",), ".html": (r"\{#.*#\}", "<!--.*-->"), ".svg": ("<!--.*-->",)}
# What belongs to the site. Tests, README, lock files and the program that starts a peer do not.
FILES = ["Cargo.toml", "build.rs", "src/**", "templates/**", "migrations/**", "static/**", "locales/**"]


def lines(path):
    """The lines of a file that are not blank and have more than a comment."""
    comment = re.compile(r"\s*(%s)?\s*" % "|".join(COMMENTS[os.path.splitext(path)[1]]))
    return sum(not comment.fullmatch(line.rstrip("\n")) for line in open(path))


def count(folder):
    folder = os.path.join(machine.ROOT, folder)
    paths = {path for pattern in FILES for path in glob.glob(os.path.join(folder, pattern), recursive=True) if os.path.isfile(path)}
    rust = sum(lines(path) for path in paths if path.endswith(".rs") and os.path.dirname(path) != folder)
    return dict(rust=rust, all=sum(lines(path) for path in paths))


class Browser:
    """Follows redirects and keeps cookies, as a person's browser does."""

    def __init__(self, base):
        self.base = base
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def open(self, path, fields=None, site="same-origin"):
        """Returns the status, the path and the text of the page that the browser ends up at."""
        body = None if fields is None else urllib.parse.urlencode(fields).encode()
        request = urllib.request.Request(self.base + path, body, {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html", "Origin": self.base if site == "same-origin" else "https://evil.example"})
        try:
            response = self.opener.open(request)
        except urllib.error.HTTPError as error:
            response = error
        return response.status, urllib.parse.urlsplit(response.url).path, response.read().decode()


def expect(title, page, status, path, *texts):
    if page[:2] != (status, path) or not all(text in page[2] for text in texts):
        raise RuntimeError(f"{title}: {page[:2]} instead of {(status, path)} with {texts}:\n{page[2]}")


def use(title, base):
    """Fails unless the site does what the notes site does."""
    person = Browser(base)
    account = {"email": "ada@example.com", "password": servers.PASSWORD}
    expect(title, person.open("/"), 200, "/", "Keep your notes")
    expect(title, person.open("/notes"), 200, "/login", "Sign in")
    expect(title, person.open("/register"), 200, "/register")
    expect(title, person.open("/register", {**account, "display_name": "Ada", "email": "ada"}), 422, "/register", "Ada")
    person.open("/register", {**account, "display_name": "Ada"})
    expect(title, person.open("/notes"), 200, "/notes", "Welcome!")
    expect(title, person.open("/notes", {"body": " "}), 422, "/notes", "Write 1 to 2,000 characters.")
    expect(title, person.open("/notes", {"body": "Milk"}, site="cross-site"), 403, "/notes")
    added = person.open("/notes", {"body": "Milk <b>honey"})
    expect(title, added, 200, "/notes", "honey", "Note added.")
    if "<b>" in added[2]:
        raise RuntimeError(f"{title}: HTML in a note is not escaped")
    expect(title, person.open("/"), 200, "/", "Welcome back")
    delete = re.search(r'/notes/\d+/delete', added[2])[0]
    stranger = Browser(base)
    stranger.open("/register")
    stranger.open("/register", {**account, "display_name": "Bob", "email": "bob@example.com"})
    expect(title, stranger.open(delete, {}), 404, delete)
    deleted = person.open(delete, {})
    expect(title, deleted, 200, "/notes", "Note deleted.")
    again = person.open("/notes")
    if "honey" in again[2] or "Note deleted." in again[2]:
        raise RuntimeError(f"{title}: a deleted note, or a notice of the former page, is shown")
    person.open("/logout", {})
    expect(title, person.open("/notes"), 200, "/login")
    expect(title, person.open("/login", {**account, "password": "wrong"}), 422, "/login")
    person.open("/login", account)
    expect(title, person.open("/notes"), 200, "/notes", "Welcome!")


def run(environment, notes):
    """`notes`: the program of the notes site."""
    rows = []
    for name, title, folder in SITES:
        database = name.replace("-", "_") + "_lines"
        environment.postgres.create(database)
        url = environment.postgres.url(database)
        machine.say(f"Using {name}.")
        if name == "notes":
            server = servers.frontdesk(environment.work, "lines", url, program=notes)
        else:
            env = {"PORT": str(machine.free_port()), "DATABASE_URL": url, "INSECURE": "1", "SECRET_KEY": servers.KEY * 2}
            server = servers.Server(environment.work, name, [os.path.join(machine.ROOT, folder, "run")], env, every=0.5)
        try:
            use(name, server.base)
        finally:
            server.stop()
        rows.append(dict(name=name, title=title, **count(folder)))
        machine.say(f"{name}: {rows[-1]['rust']} lines of Rust, {rows[-1]['all']} of everything")
    return rows
