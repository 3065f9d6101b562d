"""The certificates by which the parts know each other, and the kubeconfigs made of them."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.places import ADDRESS, API_PORT, FIRST_SERVICE, KEYS, KUBECONFIG, NODE

_DAYS = 365
_API_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_CLIENTS = {  # who asks the API server: user, group
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", None),
    "kube-scheduler": ("system:kube-scheduler", None),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
}


def make_keys() -> None:
    """Everything at once, unless it is there."""
    if KUBECONFIG.exists():
        return
    KEYS.mkdir(mode=0o700, parents=True, exist_ok=True)
    cluster, etcd = _Authority("ca"), _Authority("etcd-ca")
    _Authority("front-ca").sign("front-client", "front-proxy-client")
    etcd.sign("etcd", "etcd", addresses=("127.0.0.1",), names=("localhost",))
    etcd.sign("etcd-client", "kube-apiserver")
    cluster.sign("apiserver", "kube-apiserver", None, ("127.0.0.1", ADDRESS, FIRST_SERVICE), _API_NAMES)
    cluster.sign("apiserver-to-kubelet", "kube-apiserver", "system:masters")
    cluster.sign("kubelet-server", f"system:node:{NODE}", "system:nodes", ("127.0.0.1", ADDRESS), (NODE,))
    for name, (user, group) in _CLIENTS.items():
        cluster.sign(name, user, group)
    _write_key("accounts", ec.generate_private_key(ec.SECP256R1()))
    for name in reversed(_CLIENTS):  # the administrator's last: it marks that all are there
        _write_kubeconfig(name)


class _Authority:
    """Signs certificates."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject(name, None)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        certificate = (
            _builder(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        _write_pair(name, self._key, certificate)

    def sign(
        self,
        name: str,
        user: str,
        group: str | None = None,
        addresses: Sequence[str] = (),
        names: Sequence[str] = (),
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject(user, group), self._name, key)
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if addresses:
            purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
            alternatives: list[x509.GeneralName] = [x509.DNSName(each) for each in names]
            alternatives += [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        _write_pair(name, key, builder.sign(self._key, hashes.SHA256()))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
    )


def _subject(user: str, group: str | None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _write_pair(name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    _write_key(name, key)
    (KEYS / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_key(name: str, key: ec.EllipticCurvePrivateKey) -> None:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (KEYS / f"{name}.key").write_bytes(private)
    (KEYS / f"{name}.pub").write_bytes(public)


def _write_kubeconfig(user: str) -> None:
    path = KUBECONFIG if user == "admin" else KEYS / f"{user}.kubeconfig"
    cluster = {"server": f"https://{ADDRESS}:{API_PORT}", "certificate-authority-data": _base64("ca.crt")}
    login = {"client-certificate-data": _base64(f"{user}.crt"), "client-key-data": _base64(f"{user}.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "axo", "cluster": cluster}],
        "users": [{"name": user, "user": login}],
        "contexts": [{"name": "axo", "context": {"cluster": "axo", "user": user}}],
        "current-context": "axo",
    }
    _write_private(path, json.dumps(config, indent=1))


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _base64(name: str) -> str:
    return base64.b64encode((KEYS / name).read_bytes()).decode()
