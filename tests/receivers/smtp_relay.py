"""A mail relay that keeps what it takes: TLS and a login are required.

Usage: smtp_relay.py CERTIFICATE KEY USER PASSWORD LOG_FILE TLS. Prints its port.
TLS is "starttls", "implicit", or "stripped": somebody on the way takes STARTTLS out, and writes down whatever is said.
A recipient that begins with "nobody" is refused with 550, one that begins with "later" with 451.
"""

import asyncio
import json
import ssl
import sys
from email import message_from_bytes
from email.policy import default

from aiosmtpd.smtp import SMTP, AuthResult

CERTIFICATE, KEY, USER, PASSWORD, LOG_FILE, TLS = sys.argv[1:7]


class Keeper:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address.startswith("nobody"):
            return "550 no such mailbox"
        if address.startswith("later"):
            return "451 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = message_from_bytes(envelope.content, policy=default)
        entry = {
            "to": envelope.rcpt_tos,
            "from": mail["from"],
            "subject": mail["subject"],
            "message_id": mail["message-id"],
            "text": mail.get_content(),
            "is_tls": TLS == "implicit" or session.ssl is not None,
            "is_authenticated": session.authenticated,
        }
        with open(LOG_FILE, "a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    if TLS == "stripped":
        with open(LOG_FILE, "a", encoding="utf-8") as log:
            log.write(json.dumps({"login": data.login.decode()}) + "\n")
    is_right = data.login == USER.encode() and data.password == PASSWORD.encode()
    return AuthResult(success=is_right, handled=True)


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE, KEY)

    starttls = TLS == "starttls"

    def session():
        return SMTP(
            Keeper(),
            tls_context=context if starttls else None,
            require_starttls=starttls,
            auth_required=True,
            # Without STARTTLS it takes a login in the clear, or, protected from the first byte, knows nothing of it.
            auth_require_tls=starttls,
            authenticator=authenticate,
        )

    implicit = context if TLS == "implicit" else None
    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", 0, ssl=implicit)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
