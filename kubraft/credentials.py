"""What the administrator logs in with: a bearer token, the API's table of it, a kubeconfig.

And the key that Secrets are encrypted with in the store.
"""

from __future__ import annotations

import base64
import secrets
from pathlib import Path
from typing import Final

from kubraft.home import Home, HomeError, write_private

ADMIN_USER: Final = "kubernetes-admin"
ADMIN_GROUP: Final = "system:masters"


def make_credentials(home: Home, server: str) -> None:
    """Write `admin.token`, `tokens.csv` and `admin.kubeconfig`; a token that exists stays.

    An `encryption.yaml` that exists stays too: keys are rotated in it by hand. Where there is none,
    or an empty one, a new key is made, but none in silence for a store that has data already.

    Args:
        home: prepared, with its PKI.
        server: the apiserver's REST URL.

    Raises:
        HomeError: `encryption.yaml` is lost, and with it the key of Secrets in the store.
        OSError: a file cannot be read or written.
    """
    _check_encryption_config(home)
    token = home.token_file.read_text().strip() if home.token_file.exists() else ""
    if not token:
        token = secrets.token_urlsafe(32)
        write_private(home.token_file, token + "\n")
    write_private(home.token_auth_file, f'{token},{ADMIN_USER},{ADMIN_USER},"{ADMIN_GROUP}"\n')
    write_private(home.kubeconfig, kubeconfig(home.pki, server))
    if not home.encryption_config.exists() or not home.encryption_config.stat().st_size:
        write_private(home.encryption_config, encryption_config(secrets.token_bytes(32)))


def _check_encryption_config(home: Home) -> None:
    if home.encryption_config.exists() or not home.has_data():
        return
    path = home.encryption_config
    raise HomeError(
        f"{path} is lost, and the store has data: without the key in it no Secret can be read. Put "
        "the file back from a copy; to go on without those Secrets, or if none was ever encrypted, "
        f"make an empty one (`touch {path}`), and a new key is written into it"
    )


def encryption_config(key: bytes) -> str:
    """An EncryptionConfiguration for Secrets; those written before it are still read."""
    return f"""\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aesgcm:
      keys:
      - name: key1
        secret: {base64.b64encode(key).decode()}
  - identity: {{}}
"""


def kubeconfig(pki: Path, server: str) -> str:
    """A kubeconfig that carries the administrator's certificate and key in itself."""
    return f"""\
apiVersion: v1
kind: Config
clusters:
- name: kubraft
  cluster:
    server: {server}
    certificate-authority-data: {_encoded(pki / "ca.crt")}
users:
- name: {ADMIN_USER}
  user:
    client-certificate-data: {_encoded(pki / "admin.crt")}
    client-key-data: {_encoded(pki / "admin.key")}
contexts:
- name: kubraft
  context:
    cluster: kubraft
    user: {ADMIN_USER}
current-context: kubraft
"""


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
