"""Takes notices by HTTP: writes down each request, and answers as the file MODE says when it comes.

Usage: http_receiver.py SECRET_FILE MODE_FILE LOG_FILE [PORT [CERTIFICATE KEY]]. Prints its port.
A mode is a status such as 200 or 500, "redirect" (to /elsewhere), or "hang".
"""

import hmac
import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET_FILE, MODE_FILE, LOG_FILE = sys.argv[1:4]
PORT = int(sys.argv[4]) if len(sys.argv) > 4 else 0
LOCK = threading.Lock()


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        timestamp = self.headers["countersign-timestamp"]
        signed = hmac.new(read(SECRET_FILE).encode(), timestamp.encode() + b"." + body, "sha256").hexdigest()
        is_signed = hmac.compare_digest("v1=" + signed, self.headers["countersign-signature"])
        mode = read(MODE_FILE)
        entry = {
            "path": self.path,
            "mode": mode,
            "is_signed": is_signed,
            "is_tls": isinstance(self.connection, ssl.SSLSocket),
            "key": self.headers["idempotency-key"],
            "body": json.loads(body),
        }
        with LOCK, open(LOG_FILE, "a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
        if mode == "hang":
            threading.Event().wait(60)
        elif mode == "redirect":
            self.send_response(307)
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()
        else:
            self.send_response(int(mode))
            self.send_header("content-length", "0")
            self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", PORT), Receiver)
server.daemon_threads = True
if len(sys.argv) > 5:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*sys.argv[5:7])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
