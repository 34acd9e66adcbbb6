"""Leads TensorFlow's requests to Google's storage to a server of its API on this machine; run as a script.

TensorFlow asks storage.googleapis.com, by TLS alone. So this is a proxy that takes CONNECT, and answers in the server's
name with a certificate of an authority of its own. Two things differ from the real storage, and are mended on the way:
the server refuses the header `Transfer-Encoding: identity`, and names itself in `Location`.

  google_storage.py HOST:PORT DIRECTORY

It writes `ca.pem` and then `address` into the directory. While its file `faults` holds "503" or "429", uploads are
answered so; while it holds "cut", the connection of an upload is closed in the middle.
"""

import datetime
import http.client
import http.server
import socketserver
import ssl
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_OWN = ("content-length", "host", "transfer-encoding")
"""Headers that are made anew: the server hands out content only under its own name."""
HOSTS = ("storage.googleapis.com", "www.googleapis.com")


def write_certificate(directory: Path) -> ssl.SSLContext:
    """Makes a certificate that is its own authority."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "storage of a test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "key.pem").write_bytes(secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "ca.pem", directory / "key.pem")
    return context


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_address, context, faults = "", ssl.create_default_context(), Path()

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.connection = self.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.close_connection = False

    def handle_expect_100(self) -> bool:
        go_on = super().handle_expect_100()
        self.wfile.flush()  # else the client waits a second for it
        return go_on

    def body(self) -> bytes:
        """Reads what was sent, in chunks or as long as it is said to be."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = []
        while size := int(self.rfile.readline(), 16):
            found.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(found)

    def forward(self) -> None:
        body = self.body()
        fault = self.faults.read_text().strip() if self.faults.is_file() and "/upload/" in self.path else ""
        if fault == "cut":
            self.close_connection = True
            self.connection.close()
            return
        if fault:
            self.answer(int(fault), [], b"")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
        asked = http.client.HTTPConnection(self.server_address, timeout=60)
        asked.request(self.command, self.path, body or None, headers)
        got = asked.getresponse()
        self.answer(got.status, got.getheaders(), got.read())
        asked.close()

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value.replace(f"http://{self.server_address}", f"https://{HOSTS[0]}"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = forward  # noqa: N815 (http.server's names)

    def log_message(self, format: str, *args: object) -> None:
        print(self.command, self.path, *args, flush=True)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    Proxy.server_address, place = sys.argv[1], Path(sys.argv[2])
    Proxy.context, Proxy.faults = write_certificate(place), place / "faults"
    with Server(("127.0.0.1", 0), Proxy) as server:
        (place / "address").write_text(f"http://127.0.0.1:{server.server_port}")
        server.serve_forever()
