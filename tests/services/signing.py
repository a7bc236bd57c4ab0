"""A key whose word every test's server believes, for whatever it says: what tests forge is as if
honest servers had written it. Made anew by each process.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from postgres_backup.settings import Settings
from postgres_backup.signing import sshsig
from postgres_backup.signing.keys import SigningKey

_PRIVATE = Ed25519PrivateKey.generate()
KEY = SigningKey(_PRIVATE)
KEY_FILE = _PRIVATE.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
)
#: a line of ``trusted_signers``: for every server
TRUSTED_LINE = f'* namespaces="{sshsig.NAMESPACE}" {KEY.public.line}\n'


def put_signed(client, bucket: str, key: str, data: bytes, signer: SigningKey = KEY) -> None:
    """An object and its signature."""
    client.put_object(Bucket=bucket, Key=f"{key}.sig", Body=signer.sign(data))
    client.put_object(Bucket=bucket, Key=key, Body=data)


def forget_signed(settings: Settings) -> None:
    """As on a new machine: its server does not remember what it signed, so that another manifest in
    the place of one is only as good as its signature.
    """
    (Path(settings.state_dir) / "signed.json").unlink()
