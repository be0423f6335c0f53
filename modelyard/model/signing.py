"""Signatures of packages, in the form of OpenSSF Model Signing: `model.sig`, a Sigstore bundle beside the files.

A DSSE envelope holds an in-toto statement that names every file with its SHA-256, signed with an elliptic-curve key.
`model_signing verify key` of the model-signing project reads what is written here, and its signatures are read here.
Keys come from whoever runs the server, never from the package.
"""

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from modelyard.contract.package import MANIFEST, SIGNATURE_FILE, Manifest

__all__ = ["LARGEST_SIGNATURE", "SignatureProblem", "read_keys", "sign_package", "verify_signature"]

#: Bytes of the largest `model.sig` that is read.
LARGEST_SIGNATURE = 16 << 20
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"


class SignatureProblem(ValueError):
    """A package is not signed by a trusted key, or a key cannot be used; the message says which and why."""


def read_keys(path: Path) -> list[bytes]:
    """Return the PEM texts of a file, or of every file in a folder (a mounted ConfigMap or Secret).

    Raises SignatureProblem if there is none.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    try:
        keys = [file.read_bytes() for file in files if file.is_file() and not file.name.startswith(".")]
    except OSError as error:
        raise SignatureProblem(f"{path}: {error.strerror or error}") from error
    if not keys:
        raise SignatureProblem(f"{path} holds no public key: nothing can be verified, so nothing is opened")
    return keys


def sign_package(manifest: Manifest, text: bytes, private_key: bytes) -> bytes:
    """Return the content of `model.sig` for a manifest and its own bytes; raise SignatureProblem."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_private_key(private_key, None)
    except (ValueError, TypeError) as error:
        raise SignatureProblem(f"the signing key is no private key in PEM without a password: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SignatureProblem("the signing key must be of an elliptic curve: P-256, P-384 or P-521")
    payload = json.dumps(_statement(manifest, text)).encode()
    signature = key.sign(_signed(payload), ec.ECDSA(_hash_of(key.curve)))
    bundle = {
        "mediaType": _BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": _hint(key.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle).encode()


def verify_signature(signature: bytes, manifest: bytes, keys: Iterable[bytes]) -> None:
    """Raise SignatureProblem unless one of the keys signed a statement with this very manifest."""
    try:
        bundle = json.loads(signature)
        envelope = bundle["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signs = [base64.b64decode(entry["sig"], validate=True) for entry in envelope["signatures"]]
        kinds = (bundle["mediaType"], envelope["payloadType"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SignatureProblem(f"{SIGNATURE_FILE} is no Sigstore bundle: {type(error).__name__} {error}") from error
    if kinds != (_BUNDLE, _PAYLOAD):
        raise SignatureProblem(f"{SIGNATURE_FILE} is of the kind {kinds}: {(_BUNDLE, _PAYLOAD)} is expected")
    # before anything in the payload is believed
    if not any(_is_by(key, sign, payload) for key in keys for sign in signs):
        raise SignatureProblem(f"{SIGNATURE_FILE} is not by one of the trusted keys, or was changed")
    digest = _signed_digest(payload)
    found = hashlib.sha256(manifest).hexdigest()
    if digest != found:
        raise SignatureProblem(f"{SIGNATURE_FILE} is for another {MANIFEST}: {digest}, found {found}")


def _statement(manifest: Manifest, text: bytes) -> dict[str, Any]:
    files = {entry.path: entry.sha256 for entry in manifest.files} | {MANIFEST: hashlib.sha256(text).hexdigest()}
    resources = [{"name": name, "algorithm": "sha256", "digest": files[name]} for name in sorted(files)]
    return {
        "_type": _STATEMENT,
        "subject": [{"name": manifest.run, "digest": {"sha256": _root(resources)}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [SIGNATURE_FILE],
            },
            "resources": resources,
        },
    }


def _signed_digest(payload: bytes) -> str:
    """Return the digest of the manifest that a verified statement names."""
    try:
        statement = json.loads(payload)
        if (statement["_type"], statement["predicateType"]) != (_STATEMENT, _PREDICATE):
            raise SignatureProblem(f"{SIGNATURE_FILE} is no model signature: {statement['predicateType']}")
        resources = statement["predicate"]["resources"]
        [subject] = statement["subject"]
        if subject["digest"]["sha256"] != _root(resources):
            raise SignatureProblem(f"{SIGNATURE_FILE} contradicts itself: its files are not what its subject says")
        [digest] = [item["digest"] for item in resources if (item["name"], item["algorithm"]) == (MANIFEST, "sha256")]
    except SignatureProblem:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SignatureProblem(f"{SIGNATURE_FILE} names no {MANIFEST}: {type(error).__name__} {error}") from error
    return str(digest)


def _root(resources: list[dict[str, str]]) -> str:
    return hashlib.sha256(b"".join(bytes.fromhex(item["digest"]) for item in resources)).hexdigest()


def _signed(payload: bytes) -> bytes:
    """Return what is signed: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)


def _is_by(pem: bytes, signature: bytes, payload: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError as error:
        raise SignatureProblem(f"a trusted key is no public key in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SignatureProblem("a trusted key must be of an elliptic curve: P-256, P-384 or P-521")
    try:
        key.verify(signature, _signed(payload), ec.ECDSA(_hash_of(key.curve)))
    except InvalidSignature:
        return False
    return True


def _hash_of(curve: Any) -> Any:
    from cryptography.hazmat.primitives import hashes

    kinds = {"secp256r1": hashes.SHA256, "secp384r1": hashes.SHA384, "secp521r1": hashes.SHA512}
    if curve.name not in kinds:
        raise SignatureProblem(f"the curve {curve.name} is not allowed: P-256, P-384 or P-521")
    return kinds[curve.name]()


def _hint(key: Any) -> str:
    from cryptography.hazmat.primitives import serialization

    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.PEM, form)).hexdigest()
