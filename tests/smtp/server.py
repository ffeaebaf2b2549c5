"""A real mail server (aiosmtpd) for the tests: stores accepted mails in a folder. The first word of the recipient
selects the reply.

    server.py FOLDER starttls|implicit|plain [CERTIFICATE KEY]

  greylist-…  451 at the first attempt, then accepted      refuse-…   550 at RCPT
  reject-…    554 after DATA, repeating the mail       unknown-…  451 always
  hold-…      after DATA, 250 only once FOLDER/go exists
  stall-…     after DATA, 250 only once FOLDER/stalled-enough exists, or after 30 s
  anything else is accepted

A recipient in FOLDER/replies.json gets that reply at RCPT. A sender refused-sender@… gets 550 at MAIL. Prints the port, then serves until its standard input closes.
"""

import asyncio
import json
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

folder = pathlib.Path(sys.argv[1])
mode = sys.argv[2]
seen = set()
count = 0


def note(event, **fields):
    with open(folder / "log", "a") as log:
        log.write(json.dumps({"event": event, **fields}) + "\n")


class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        if address.startswith("refused-sender"):
            return "550 5.7.1 not from you"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        replies = folder / "replies.json"
        reply = json.loads(replies.read_text()).get(address) if replies.exists() else None
        if reply is not None and not reply.startswith("250"):
            return reply
        word = address.split("-")[0]
        if word == "unknown" or (word == "greylist" and address not in seen):
            seen.add(address)
            note("451", to=address)
            return "451 4.7.1 greylisted, come back later"
        if word == "refuse":
            note("550", to=address)
            return f"550 5.1.1 <{address}> is unknown here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        global count
        word = envelope.rcpt_tos[0].split("-")[0]
        content = envelope.content.decode("utf-8", "replace")
        if word == "reject":
            link = next((part for part in content.split() if "://" in part), "")
            return f"554 5.7.1 we do not like {link}"[:500]
        count += 1
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "encrypted": server.transport.get_extra_info("ssl_object") is not None,
            "user": session.auth_data.decode() if session.auth_data else None,
            "hello": session.host_name,
            "content": content,
        }
        unfinished = folder / f".{count:05}"
        unfinished.write_text(json.dumps(mail))
        unfinished.rename(folder / f"{count:05}.json")
        if word == "hold":
            while not (folder / "go").exists():
                await asyncio.sleep(0.01)
        if word == "stall":
            # A deadline, not 3,000 sleeps of 10 ms: on a busy machine those take longer than the client's timeout.
            deadline = asyncio.get_running_loop().time() + 30
            while asyncio.get_running_loop().time() < deadline:
                if (folder / "stalled-enough").exists():
                    break
                await asyncio.sleep(0.01)
        note("250", to=envelope.rcpt_tos[0])
        return "250 OK, taken"


def sign_in(server, session, envelope, mechanism, data):
    good = data.login == b"desk" and data.password == b"p@ss:word/"
    return AuthResult(success=good, auth_data=data.login, handled=False)


async def main():
    tls = None
    if mode != "plain":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[3], sys.argv[4])

    def session():
        return SMTP(
            Handler(),
            hostname="mail.test",
            tls_context=tls if mode == "starttls" else None,
            require_starttls=mode == "starttls",
            authenticator=sign_in,
            auth_require_tls=mode == "starttls",
            enable_SMTPUTF8=True,
            timeout=120,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        session, "127.0.0.1", 0, ssl=tls if mode == "implicit" else None
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


asyncio.run(main())
