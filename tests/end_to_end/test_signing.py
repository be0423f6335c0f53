"""A signed model is served where its key is trusted, and nowhere else."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.end_to_end.test_tensorflow import script
from tests.support.kubectl import Kubectl, is_ready, wait_until

VERSION = "modelyard.dev/v1alpha1"


def key_pair() -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    pem, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private.decode(), key.public_key().public_bytes(pem, form).decode()


def config_map(name: str, **data: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def serving(name: str, keys: str) -> dict:
    spec = {"model": {"training": "signed"}, "replicas": 1, "verification": {"configMap": keys}}
    return {"apiVersion": VERSION, "kind": "ModelServing", "metadata": {"name": name}, "spec": spec}


def told(kubectl: Kubectl, name: str) -> str:
    conditions = kubectl.get("modelserving", name).get("status", {}).get("conditions", [])
    return " ".join(condition.get("message", "") for condition in conditions)


def test_what_the_trusted_key_did_not_sign_is_never_served(cluster: Kubectl):
    private, public = key_pair()
    spec = {
        "script": {"configMap": "signed-script"},
        "output": {"uri": "pvc://models/signed"},
        "signing": {"secretName": "signing-key"},
    }
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "signing-key"},
            "stringData": {"private.pem": private},
        },
        config_map("trusted-keys", **{"release.pem": public}),
        config_map("other-keys", **{"release.pem": key_pair()[1]}),
        script("signed-script"),
        {"apiVersion": VERSION, "kind": "ModelTraining", "metadata": {"name": "signed"}, "spec": spec},
        serving("signed", "trusted-keys"),
        serving("strict", "other-keys"),
    )
    wait_until(lambda: is_ready(cluster.get("modelserving", "signed")), 300, "modelserving signed is ready")
    assert cluster.predict("signed", "country=de")["predictions"] == [20.0]
    wait_until(lambda: "not by one of the trusted keys" in told(cluster, "strict"), 120, "the reason is told")
    assert not is_ready(cluster.get("modelserving", "strict"))
