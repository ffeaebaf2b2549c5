"""Single requests of a browser (sign in, get a page), and a keep-alive connection for measuring
microseconds."""

import http.cookiejar, socket, time, urllib.error, urllib.parse, urllib.request
from concurrent.futures import ThreadPoolExecutor


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *a):
        return None


def post(base, path, fields):
    """Returns the cookies that the response sets; it must be a redirect."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar), NoRedirect())
    for attempt in range(50):
        try:
            opener.open(base + path, urllib.parse.urlencode(fields).encode())
            break
        except urllib.error.HTTPError as error:
            if error.code in (302, 303):
                break
            if error.code != 503 or attempt == 49:
                raise
            time.sleep(0.2)
    return "; ".join(f"{c.name}={c.value}" for c in jar if c.name not in ("csrftoken", "notice"))


def login(base, email, password):
    cookie = post(base, "/login", {"email": email, "password": password})
    assert cookie, f"no cookie from {base}"
    return cookie


def login_all(base, emails, password):
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda email: login(base, email, password), emails))


def get(base, path, cookie, mark):
    """Returns the page; `mark` is text that only a signed-in user sees."""
    opener = urllib.request.build_opener(NoRedirect())
    body = opener.open(urllib.request.Request(base + path, headers={"Cookie": cookie} if cookie else {})).read().decode()
    assert mark in body, f"{base}{path}: not signed in"
    return body


class Connection:
    """A keep-alive connection; parses only the status and length of a response."""

    def __init__(self, port):
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def status(self, method, path, cookie):
        form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n" if method == "POST" else ""
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nCookie: {cookie}\r\n{form}\r\n".encode())
        response = b""
        while b"\r\n\r\n" not in response:
            response += self.receive()
        head, body = response.split(b"\r\n\r\n", 1)
        lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        while len(body) < int(lengths[0]):
            body += self.receive()
        return int(head.split(b" ", 2)[1])

    def receive(self):
        part = self.socket.recv(65536)
        if not part:
            raise RuntimeError("the server closed the connection")
        return part
