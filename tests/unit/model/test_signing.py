"""Signed packages: opened only if a trusted key signed this very manifest."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

import modelyard
from modelyard.contract.package import MANIFEST, SIGNATURE_FILE, Manifest
from modelyard.model.opening import PackageRefused
from modelyard.model.publishing import upload_package
from modelyard.model.signing import SignatureProblem, read_keys, sign_package, verify_signature
from tests.support.kubectl import ROOT
from tests.support.packages import NOW, change_manifest, copy_package, publication, store
from tests.support.server import Server

#: Made by `model_signing sign key` 1.1.1, the reference implementation.
REFERENCE = ROOT / "tests/golden/signature"


def key_pair(curve: Any = ec.SECP256R1) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(curve())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, public_of(key)


def public_of(key: Any) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def keys() -> tuple[bytes, bytes]:
    return key_pair()


@pytest.fixture
def signed(package: Path, tmp_path: Path, keys: tuple[bytes, bytes]) -> Path:
    """A signed package's folder, beside `trusted/mine.pem`."""
    done = upload_package(package, publication(signing_key=keys[0]), store(tmp_path / "store"), lambda: NOW)
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted/mine.pem").write_bytes(keys[1])
    return Path(done.uri)


def test_a_signed_package_opens_with_one_of_the_trusted_keys(signed: Path, tmp_path: Path):
    (tmp_path / "trusted/another.pem").write_bytes(key_pair()[1])
    for trusted in (tmp_path / "trusted", tmp_path / "trusted/mine.pem"):
        assert modelyard.open(str(signed), public_keys=trusted).predict({"price": 1.0})


def test_what_is_unsigned_or_signed_by_another_is_refused(signed: Path, package: Path, tmp_path: Path):
    with pytest.raises(PackageRefused, match=r"not signed: model\.sig does not exist"):
        modelyard.open(str(package), public_keys=tmp_path / "trusted")
    (tmp_path / "trusted/mine.pem").write_bytes(key_pair()[1])
    with pytest.raises(PackageRefused, match="not by one of the trusted keys"):
        modelyard.open(str(signed), public_keys=tmp_path / "trusted")
    (tmp_path / "trusted/mine.pem").unlink()
    with pytest.raises(PackageRefused, match="holds no public key"):
        modelyard.open(str(signed), public_keys=tmp_path / "trusted")
    with pytest.raises(PackageRefused, match="nowhere holds no public key"):
        modelyard.open(str(signed), public_keys=tmp_path / "nowhere")


def test_a_signature_of_another_manifest_is_refused(signed: Path, tmp_path: Path):
    changed = copy_package(signed, tmp_path / "changed")
    change_manifest(changed, step=8)
    with pytest.raises(PackageRefused, match=r"for another manifest\.json"):
        modelyard.open(str(changed), public_keys=tmp_path / "trusted")


def test_documents_that_nothing_vouches_for_are_bounded(signed: Path, tmp_path: Path):
    changed = copy_package(signed, tmp_path / "changed")
    with (changed / SIGNATURE_FILE).open("r+b") as stream:
        stream.truncate((16 << 20) + 1)
    with pytest.raises(PackageRefused, match=r"model\.sig has 16777217 bytes: at most"):
        modelyard.open(str(changed), public_keys=tmp_path / "trusted")
    with (changed / MANIFEST).open("r+b") as stream:
        stream.truncate((64 << 20) + 1)
    with pytest.raises(PackageRefused, match=r"manifest\.json has 67108865 bytes: at most"):
        modelyard.open(str(changed))


def test_a_server_never_serves_what_its_key_did_not_sign(signed: Path, package: Path, tmp_path: Path):
    trusted = str(tmp_path / "trusted")
    server = Server(tmp_path, str(signed), MODELYARD_VERIFICATION=trusted).await_ready()
    assert server.end() == 0
    refused = Server(tmp_path, str(package), MODELYARD_VERIFICATION=trusted)
    assert refused.process.wait(30) == 1
    refused.process.communicate()
    assert "the package is not signed" in refused.log.read_text()


def test_signatures_of_the_reference_implementation_are_read():
    manifest, keys = (REFERENCE / MANIFEST).read_bytes(), read_keys(REFERENCE / "public.pem")
    verify_signature((REFERENCE / SIGNATURE_FILE).read_bytes(), manifest, keys)
    with pytest.raises(SignatureProblem, match="for another"):
        verify_signature((REFERENCE / SIGNATURE_FILE).read_bytes(), manifest + b" ", keys)


def bundle_of(private: bytes, change: Any = None) -> tuple[dict[str, Any], bytes]:
    text = (REFERENCE / MANIFEST).read_bytes()
    bundle = json.loads(sign_package(Manifest.model_validate_json(text), text, private))
    if change is not None:
        payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        change(payload)
        # signed anew: what the signer himself got wrong
        bundle = json.loads(resigned(private, json.dumps(payload).encode(), bundle))
    return bundle, text


def resigned(private: bytes, payload: bytes, bundle: Any) -> bytes:
    from cryptography.hazmat.primitives import hashes

    key: Any = serialization.load_pem_private_key(private, None)
    kind = b"application/vnd.in-toto+json"
    sign = key.sign(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload), ec.ECDSA(hashes.SHA256()))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    bundle["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(sign).decode(), "keyid": ""}]
    return json.dumps(bundle).encode()


def without_manifest(payload: Any) -> None:
    resources = payload["predicate"]["resources"]
    resources[:] = [item for item in resources if item["name"] != MANIFEST]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda payload: payload.update(predicateType="https://example.org/other"), "no model signature"),
        (lambda payload: payload["predicate"]["resources"].pop(0), "contradicts itself"),
        (without_manifest, "contradicts itself"),
        (lambda payload: payload.pop("subject"), "names no manifest"),
        (lambda payload: payload["predicate"]["resources"][0].update(digest="zz"), "names no manifest"),
    ],
)
def test_a_signed_statement_that_makes_no_sense_is_refused(keys: tuple[bytes, bytes], change: Any, message: str):
    bundle, text = bundle_of(keys[0], change)
    with pytest.raises(SignatureProblem, match=message):
        verify_signature(json.dumps(bundle).encode(), text, [keys[1]])


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"dsseEnvelope": 3}'])
def test_what_is_no_bundle_is_refused(keys: tuple[bytes, bytes], content: bytes):
    with pytest.raises(SignatureProblem, match="no Sigstore bundle"):
        verify_signature(content, b"{}", [keys[1]])


def test_a_payload_changed_after_signing_or_of_another_kind_is_refused(keys: tuple[bytes, bytes]):
    bundle, text = bundle_of(keys[0])
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload.replace(b"a-1", b"a-2")).decode()
    with pytest.raises(SignatureProblem, match="or was changed"):
        verify_signature(json.dumps(bundle).encode(), text, [keys[1]])
    bundle["dsseEnvelope"]["payloadType"] = "text/plain"
    with pytest.raises(SignatureProblem, match="of the kind"):
        verify_signature(json.dumps(bundle).encode(), text, [keys[1]])


@pytest.mark.parametrize("curve", [ec.SECP384R1, ec.SECP521R1])
def test_larger_curves_sign_too(curve: Any):
    private, public = key_pair(curve)
    bundle, text = bundle_of(private)
    verify_signature(json.dumps(bundle).encode(), text, [public])


def test_keys_that_cannot_be_used_are_told(keys: tuple[bytes, bytes]):
    other = ed25519.Ed25519PrivateKey.generate()
    private = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(SignatureProblem, match="must be of an elliptic curve"):
        bundle_of(private)
    with pytest.raises(SignatureProblem, match="no private key in PEM"):
        bundle_of(b"nothing")
    with pytest.raises(SignatureProblem, match="curve secp256k1 is not allowed"):
        bundle_of(key_pair(ec.SECP256K1)[0])
    bundle, text = bundle_of(keys[0])
    for public, message in ((public_of(other), "must be of an elliptic curve"), (b"nothing", "no public key in PEM")):
        with pytest.raises(SignatureProblem, match=message):
            verify_signature(json.dumps(bundle).encode(), text, [public])
