"""The servers that are compared, each a process of its own on this machine, and what they are asked."""

import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# On the disk that holds the build, since a temporary directory may be in memory.
HOME = ROOT / "target/bench"
CERBOS = ROOT / "benches/node_modules/@cerbos/cerbos-linux-x64/cerbos-linux-x64"
PATIENCE_S = 20


class Server:
    """A program, and how it is started again and again on the same data."""

    def __init__(self, name, command, port):
        self.name, self.command, self.port = name, [str(part) for part in command], port
        self.process = None

    def start(self):
        log = open(HOME / f"{self.name}.log", "a")
        self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=HOME)
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.0005)
        raise SystemExit(f"{self.name} does not start: see {log.name}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)

    def cpu_s(self):
        """User and system time of all its threads, also of those that have ended."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


class Question:
    """One recorded gRPC frame, and where it goes."""

    def __init__(self, name, server, path, message, headers=()):
        self.name, self.server, self.path, self.message = name, server, path, message
        self.headers = list(headers)
        self.frame = HOME / (re.sub(r"\W+", "-", name) + ".frame")
        self.frame.write_bytes(struct.pack(">BI", 0, len(message)) + message)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fresh_home():
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)


def generate():
    """The Python code of our messages."""
    out = HOME / "python"
    out.mkdir()
    proto = ROOT / "proto"
    file = str(proto / "countersign/v1/authorization.proto")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{proto}", f"--python_out={out}", file]
    subprocess.run(command, check=True)
    sys.path.insert(0, str(out))


class Sidecar(Server):
    """The binary as it is shipped, with the company that `countersign demo` makes."""

    def __init__(self, binary):
        port = free_port()
        self.binary, self.folder = pathlib.Path(binary).resolve(), HOME / "sidecar"
        super().__init__("countersign", [self.binary, "serve", "--config", self.folder / "countersign.toml"], port)
        self.seed()
        drawn = subprocess.run([self.binary, "keys", "new", "--token-file", HOME / "token"], check=True, capture_output=True)
        digest = re.search(rb"token_digests.*", drawn.stdout)[0].decode()
        self.token = (HOME / "token").read_text().strip()
        (self.folder / "countersign.toml").write_text(
            f'[listen]\ntcp = "127.0.0.1:{port}"\n[data]\ndirectory = "data"\n[keys]\ndirectory = "keys"\n'
            f'[[client]]\nname = "bench"\n{digest}\nrpcs = ["Authorize"]\nchannels = ["portal"]\n'
            'asserts = ["portal_login"]\naccepts_tokens_from = ["bench"]\n'
            # As little log as the others write.
            '[log]\nfilter = "info,countersign::call=off"\n'
        )

    def seed(self):
        command = [self.binary, "demo", "--dir", self.folder, "--port", str(free_port()), "--env-file", HOME / "demo.env"]
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in demo.stdout:
            if line.startswith("Decisions"):
                break
        demo.send_signal(signal.SIGTERM)
        demo.wait(PATIENCE_S)

    def records(self):
        """The number of the newest audit record."""
        command = [self.binary, "audit", "tail", "--data", self.folder / "data", "--last", "1", "--json"]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return int(re.search(r'"sequence":\s*(\d+)', shown)[1]), len(shown)


def control(binary):
    port = free_port()
    return Server("control", [pathlib.Path(binary).resolve(), f"127.0.0.1:{port}"], port)


def cerbos(name, audit):
    """Cerbos with the same roles: what each may do, as `policies/roles.cedar` says it."""
    folder = HOME / name
    (folder / "policies").mkdir(parents=True)
    for kind, actions in CERBOS_RULES.items():
        rules = "".join(
            f"    - actions: [{action!r}]\n      effect: EFFECT_ALLOW\n      roles: {roles}\n"
            for action, roles in actions.items()
        )
        (folder / f"policies/{kind}.yaml").write_text(
            f'apiVersion: api.cerbos.dev/v1\nresourcePolicy:\n  resource: {kind}\n  version: "default"\n  rules:\n{rules}'
        )
    port, http = free_port(), free_port()
    log = f"audit:\n  enabled: true\n  backend: file\n  file:\n    path: {folder}/audit.log\n" if audit else ""
    (folder / "cerbos.yaml").write_text(
        f'server:\n  httpListenAddr: "127.0.0.1:{http}"\n  grpcListenAddr: "127.0.0.1:{port}"\n'
        f"storage:\n  driver: disk\n  disk:\n    directory: {folder}/policies\n    watchForChanges: false\n"
        f"telemetry:\n  disabled: true\n{log}"
    )
    return Server(name, [CERBOS, "server", f"--config={folder}/cerbos.yaml", "--log-level=error"], port)


def cerbos_check():
    """CheckResourcesRequest: may a company admin change this user?"""

    def field(number, value):
        value = value.encode() if isinstance(value, str) else value
        assert len(value) < 128, "a length of one byte"
        return bytes([number << 3 | 2, len(value)]) + value

    principal = field(1, "con-1002") + field(3, "company_admin")
    resource = field(1, "user") + field(3, "u-17")
    return field(1, "request-1") + field(3, principal) + field(4, field(1, "user.change") + field(2, resource))


SUPER, COMPANY, IT, BILLING = "super_admin", "company_admin", "it_admin", "my8x8_admin"
CERBOS_RULES = {
    "account": {"account.view": [SUPER, COMPANY, BILLING], "account.change": [SUPER, COMPANY]},
    "audit": {"audit.read": [SUPER, "audit_management_admin"]},
    "billing": {"billing.change": [SUPER, BILLING]},
    "call_detail": {"call_detail.view": [SUPER, COMPANY]},
    "case": {"case.open": [SUPER, BILLING], "case.update": [SUPER, BILLING]},
    "contact_center": {"contact_center.configure": [SUPER, "vcc_admin"]},
    "device": {"device.change": [SUPER, COMPANY, IT]},
    "invoice": {"invoice.view": [SUPER, BILLING]},
    "number": {"number.port": [SUPER, COMPANY]},
    "order": {"order.place": [SUPER, BILLING], "order.cancel": [SUPER, BILLING]},
    "recording": {"recording.view": [SUPER, COMPANY]},
    "routing": {"routing.change": [SUPER, COMPANY]},
    "user": {"user.change": [SUPER, COMPANY, IT], "role.grant": [SUPER, COMPANY]},
    "workgroup": {"workgroup.change": [SUPER, COMPANY, IT]},
}
