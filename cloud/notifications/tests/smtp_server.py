"""A real SMTP server for the tests: prints one JSON line per mail. Arguments: certificate and key for STARTTLS, or none."""
import asyncio
import json
import logging
import ssl
import sys
from email import message_from_bytes, policy

from aiosmtpd.smtp import SMTP


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 no such mailbox"
        if address.startswith("busy@"):
            return "450 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = message_from_bytes(envelope.content, policy=policy.default)
        bodies = {part.get_content_type(): part.get_content() for part in mail.walk() if not part.is_multipart()}
        print(json.dumps({
            "from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": session.ssl is not None,
            "headers": {name.lower(): str(value) for name, value in mail.items()}, "bodies": bodies,
        }), flush=True)
        return "250 OK"


# A client that does not trust the certificate is part of the tests, not news.
logging.getLogger("mail.log").setLevel(logging.CRITICAL + 1)


def protocol():
    if len(sys.argv) > 2:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        return SMTP(Handler(), tls_context=context, require_starttls=True, hostname="localhost")
    return SMTP(Handler(), hostname="localhost")


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    # Ends with its standard input, also when the test is killed.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
