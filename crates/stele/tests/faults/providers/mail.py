"""A fake mail server that prints each mail as a line of JSON, as parsed by Python's email package.

    mail.py plain|starttls|tls [CERTIFICATE KEY]

The first line is the port. The server requires AUTH and, unless the mode is `plain`, TLS before AUTH. A recipient such
as `451.mark@example.com` gets the reply 451 the first time, and `always452.mark@…` gets 452 every time; each reply
other than 250 is printed, too. The server exits at the end of its standard input.
"""

import asyncio
import email
import email.policy
import email.utils
import json
import os
import re
import ssl
import sys
import threading

from aiosmtpd.smtp import SMTP, AuthResult

USER, PASSWORD = b"codes", "p@ss,wörd".encode()


def report(**line):
    print(json.dumps(line), flush=True)


class Handler:
    def __init__(self):
        self.seen = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        failure = re.match(r"(always)?(\d{3})\.", address)
        if failure and (failure[1] or address not in self.seen):
            self.seen.add(address)
            report(to=address, answered=int(failure[2]))
            return f"{failure[2]} {address} is rejected"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        report(
            sender=envelope.mail_from,
            to=envelope.rcpt_tos,
            user=session.auth_data.decode() if session.authenticated else None,
            encrypted=server.transport.get_extra_info("ssl_object") is not None,
            headers={name.lower(): str(value) for name, value in mail.items()},
            date=email.utils.parsedate_to_datetime(mail["date"]).timestamp(),
            charset=mail.get_content_charset(),
            text=mail.get_content(),
            ascii=envelope.content.isascii(),
            defects=[str(defect) for part in [mail, *(mail[name] for name in mail.keys())] for defect in part.defects],
        )
        return "250 accepted"


def authenticate(server, session, envelope, mechanism, data):
    right = (data.login, data.password) == (USER, PASSWORD)
    return AuthResult(success=right, auth_data=data.login)


async def main(mode, *identity):
    context = None
    if identity:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*identity)
    handler = Handler()
    require_starttls = mode == "starttls"
    protocol = lambda: SMTP(
        handler,
        hostname="localhost",
        tls_context=context if require_starttls else None,
        require_starttls=require_starttls,
        authenticator=authenticate,
        auth_required=True,
        auth_require_tls=require_starttls,
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if mode == "tls" else None)
    report(port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
asyncio.run(main(*sys.argv[1:]))
