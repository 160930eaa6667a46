"""A mail server that prints each received mail as a line of JSON, parsed by Python's email package.

    mail.py plain|starttls|tls [CERTIFICATE KEY]

The first line is the port. The server requires AUTH, and encryption first unless the mode is `plain`. The first attempt
to send to a recipient such as `451.mark@example.com` gets the reply 451, every attempt to `always452.mark@…` gets 452;
replies other than 250 are printed as well. The server stops when its standard input closes.
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


def print_json(**line):
    print(json.dumps(line), flush=True)


class Handler:
    def __init__(self):
        self.seen = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        scripted = re.match(r"(always)?(\d{3})\.", address)
        if scripted and (scripted[1] or address not in self.seen):
            self.seen.add(address)
            print_json(to=address, answered=int(scripted[2]))
            return f"{scripted[2]} {address} is rejected"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        print_json(
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
    is_valid = (data.login, data.password) == (USER, PASSWORD)
    return AuthResult(success=is_valid, auth_data=data.login)


async def main(mode, *identity):
    context = None
    if identity:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*identity)
    handler = Handler()
    start = mode == "starttls"
    protocol = lambda: SMTP(
        handler,
        hostname="localhost",
        tls_context=context if start else None,
        require_starttls=start,
        authenticator=authenticate,
        auth_required=True,
        auth_require_tls=start,
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if mode == "tls" else None)
    print_json(port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
asyncio.run(main(*sys.argv[1:]))
