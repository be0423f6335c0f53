"""The edges: applying, events, the Lease, health, settings, log lines."""

import json
import logging
from datetime import timedelta

import pytest

from modelyard_operator.health import BLIND_SECONDS, SILENT_SECONDS, STUCK_SECONDS, Vitals, diagnose
from modelyard_operator.kube.applying import Applier, contains
from modelyard_operator.kube.client import Unreachable
from modelyard_operator.kube.leading import DURATION, Leadership
from modelyard_operator.kube.recorder import Recorder
from modelyard_operator.logs import configure_logs
from modelyard_operator.outcome import Event
from modelyard_operator.settings import Settings, SettingsError
from modelyard_operator.store import Key
from tests.support.cluster import Api, Clock
from tests.support.objects import NOW

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "digits", "namespace": "team", "labels": {"a": "b"}},
    "spec": {"ports": [{"port": 80}]},
}
KEY = Key("Service", "team", "digits")
ENVIRONMENT = {
    "MODELYARD_TRAINING_IMAGE": "t",
    "MODELYARD_SERVING_IMAGE": "s",
    "MODELYARD_SERVING_TENSORFLOW_IMAGE": "st",
}


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def api(clock: Clock) -> Api:
    return Api(clock)


async def test_an_object_that_holds_the_intent_is_left_alone(api: Api):
    applier = Applier(api)
    assert await applier.apply(SERVICE, None) is not None
    assert await Applier(api).apply(SERVICE, api.objects[KEY]) is None
    assert len(api.writes) == 1


async def test_a_field_changed_by_hand_is_put_right(api: Api):
    applier = Applier(api)
    await applier.apply(SERVICE, None)
    api.change(KEY, lambda body: body["spec"].update(ports=[{"port": 81}]))
    assert await applier.apply(SERVICE, api.objects[KEY]) is not None
    assert api.objects[KEY]["spec"]["ports"] == [{"port": 80}]


@pytest.mark.parametrize(
    ("live", "wanted", "holds"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"cpu": "1"}, {"cpu": "1000m"}, True),
        ({"memory": "1Gi"}, {"memory": "1024Mi"}, True),
        ({"memory": "1Gi"}, {"memory": "1G"}, False),
        ({"items": [{"a": 1, "default": 0}]}, {"items": [{"a": 1}]}, True),
        ({"items": [1, 2]}, {"items": [1]}, False),
        ({}, {"empty": {}}, True),
        ({}, {"there": "no"}, False),
    ],
)
def test_containing_ignores_defaults_and_the_spelling_of_quantities(live, wanted, holds):
    assert contains(live, wanted) is holds


async def test_the_same_words_are_told_once_in_two_minutes_and_a_failure_is_not_passed_on(api: Api, clock: Clock):
    recorder = Recorder(api, clock.now)
    about = {**SERVICE, "metadata": {**SERVICE["metadata"], "uid": "u"}}
    for _ in range(2):
        await recorder.post(about, Event("Normal", "Told", "something"))
    assert len(api.of_kind("Event")) == 1
    clock.seconds += 121
    await recorder.post(about, Event("Normal", "Told", "something"))
    assert len(api.of_kind("Event")) == 2

    def fail(*_: object) -> None:
        raise Unreachable("no")

    api.fault = fail
    await recorder.post(about, Event("Normal", "Told", "something else"))


async def test_one_candidate_leads_and_the_other_takes_over_when_the_lease_is_free_or_old(api: Api, clock: Clock):
    first, second = (Leadership(api, "system", name, clock.now) for name in ("first", "second"))
    assert await first._try()
    assert not await second._try()
    clock.seconds += DURATION - 1
    assert await first._try()
    clock.seconds += 2
    assert not await second._try()
    clock.seconds += DURATION + 1
    assert await second._try()
    assert not await first._try()
    second.is_leader = True
    await second.release()
    assert await first._try()


@pytest.mark.parametrize(
    ("vitals", "word"),
    [
        (Vitals(leading=True, lease_age=1, resync_age=1, longest_pass=1), ""),
        (Vitals(leading=True, lease_age=SILENT_SECONDS + 1, resync_age=1, longest_pass=1), "out of reach"),
        (Vitals(leading=True, lease_age=1, resync_age=BLIND_SECONDS + 1, longest_pass=1), "blind"),
        (Vitals(leading=False, lease_age=1, resync_age=BLIND_SECONDS + 1, longest_pass=1), ""),
        (Vitals(leading=True, lease_age=1, resync_age=1, longest_pass=STUCK_SECONDS + 1), "stuck"),
    ],
)
def test_health_tells_when_the_operator_is_blind_or_stuck(vitals: Vitals, word: str):
    assert word in diagnose(vitals)
    assert bool(diagnose(vitals)) == bool(word)


def test_settings_are_read_with_defaults():
    settings = Settings.read(ENVIRONMENT | {"MODELYARD_NAMESPACES": "a, b"})
    assert settings.namespaces == ("a", "b")
    assert (settings.port, settings.lease_namespace) == (8080, "modelyard-system")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"MODELYARD_TRAINING_IMAGE": ""}, "MODELYARD_TRAINING_IMAGE"),
        ({"MODELYARD_PORT": "http"}, "MODELYARD_PORT"),
        ({"MODELYARD_LOG_LEVEL": "loud"}, "MODELYARD_LOG_LEVEL"),
        ({"MODELYARD_LOG_FORMAT": "xml"}, "MODELYARD_LOG_FORMAT"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(change: dict[str, str], word: str):
    with pytest.raises(SettingsError, match=word):
        Settings.read(ENVIRONMENT | change)


def test_a_log_record_is_one_line_of_json(capsys: pytest.CaptureFixture[str]):
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        configure_logs("INFO", "json")
        logging.getLogger("x").info("applied", extra={"key": "team/digits", "moment": timedelta(seconds=1)})
        try:
            raise ValueError("why")
        except ValueError:
            logging.getLogger("x").exception("broke")
        first, second = map(json.loads, capsys.readouterr().err.splitlines())
    finally:
        logging.getLogger().handlers, logging.getLogger().level = before
    assert (first["message"], first["key"], first["level"]) == ("applied", "team/digits", "INFO")
    assert "ValueError: why" in second["traceback"]
