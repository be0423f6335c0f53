"""The page of a served model in a real browser: it shows the model, asks it, and says at the field what is wrong."""

import io
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

import modelyard
from modelyard.contract.wire import Published
from tests.support.browser import browser
from tests.support.everything import columns, row_of
from tests.support.server import Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@dataclass
class Seen:
    """An open page, what it asked for, and what it complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def answer(self) -> Any:
        """The prediction in the whole answer that the page shows."""
        return json.loads(self.page.locator("#whole pre").text_content() or "")["predictions"][0]

    def predict(self) -> None:
        self.page.get_by_role("button", name="Predict").click()
        expect(self.page.get_by_role("button", name="Predict")).to_be_enabled()


@pytest.fixture
def seen(chromium: Browser, stays_server: Server) -> Iterator[Seen]:
    page = chromium.new_page()
    found = Seen(page)
    page.on("request", lambda request: found.requests.append(request.url))
    page.on("console", lambda message: found.complaints.append(message.text))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.goto(f"http://127.0.0.1:{stays_server.http}/")
    yield found
    page.close()


def field_of(page: Page, name: str) -> Locator:
    """The field whose label is the feature's name."""
    return page.locator("#form").get_by_label(re.compile(rf"^{name}( \(optional\))?$"))


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(40 * 40 * 3, dtype=np.uint8).reshape(40, 40, 3)).save(stream, "JPEG")
    return stream.getvalue()


def test_the_form_is_filled_in_and_answers_as_the_model_does_in_process(
    seen: Seen, stays_server: Server, stays: Published, tmp_path: Path
):
    page, picture = seen.page, tmp_path / "beach.jpg"
    picture.write_bytes(jpeg())
    field_of(page, "price").fill("99.5")
    field_of(page, "guests").fill("4")
    field_of(page, "member").select_option("true")
    field_of(page, "country").fill("fr")
    field_of(page, "arrival").fill("2026-07-14")
    field_of(page, "guest").fill("anna")
    field_of(page, "distance").fill("")
    wishes = field_of(page, "wishes")
    while page.locator(".words li").count():
        wishes.press("Backspace")
    for word in ("sea", "quiet"):
        wishes.fill(word)
        wishes.press("Enter")
    field_of(page, "taste").fill(json.dumps([*range(16)]))
    field_of(page, "photo").set_input_files(picture)
    expect(page.get_by_text("beach.jpg")).to_be_visible()
    field_of(page, "price").press("Enter")
    expect(page.locator("#timing")).to_contain_text("compute")

    row = {"price": 99.5, "guests": 4, "member": True, "country": "fr", "arrival": "2026-07-14", "guest": "anna"}
    row |= {"wishes": ["sea", "quiet"], "taste": [*range(16)], "photo": jpeg()}
    expected = modelyard.open(stays.uri).predict(row)
    assert seen.answer() == expected
    expect(page.locator("#timing")).to_contain_text("stays-3-900")
    command = page.locator("#asked pre").text_content() or ""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert json.loads(done.stdout)["predictions"][0] == expected
    origin = f"127.0.0.1:{stays_server.http}"
    assert {urlsplit(url).netloc for url in seen.requests if not url.startswith("data:")} == {origin}
    assert seen.complaints == []


def test_the_example_is_answered_as_it_stands(seen: Seen, stays: Published):
    seen.predict()
    assert seen.answer() == modelyard.open(stays.uri).predict(row_of(columns(), 0))


def test_a_wrong_value_is_told_at_its_field(seen: Seen):
    page = seen.page
    field_of(page, "price").fill("-5")
    field_of(page, "country").fill("")
    seen.predict()
    told = page.locator("#wrong-price")
    expect(told).to_contain_text("price: -5 is below 0")
    expect(page.locator("#wrong-country")).to_contain_text("country: missing")
    expect(field_of(page, "price")).to_be_focused()
    expect(page.locator("[aria-invalid]")).to_have_count(2)
    field_of(page, "price").fill("5")
    field_of(page, "country").fill("nl")
    field_of(page, "taste").fill("[1, 2")
    seen.predict()
    expect(page.locator("[aria-invalid]")).to_have_count(1)
    expect(page.locator("#wrong-taste")).to_contain_text("taste: not a list of numbers")
    field_of(page, "taste").fill("[1, 2]")
    seen.predict()
    expect(page.locator("#wrong-taste")).to_contain_text("taste: shape [2]; 16 numbers from 0 to 16")


def test_the_model_is_shown_with_its_quality_variants_and_distributions(seen: Seen, stays_server: Server):
    rows = [{**row_of(columns(), place % 200), "price": 400.0} for place in range(250)]
    assert stays_server.ask("/v1/models/stays:predict", {"instances": rows})[0] == 200
    page = seen.page
    expect(page.locator("#about")).to_contain_text("stays-3-900")
    expect(page.locator("#metrics")).to_contain_text("nights_mae0.42")
    for name in ("float32", "float16", "dynamic"):
        expect(page.locator("#variants tr", has_text=name)).to_contain_text(" ms")
    expect(page.locator("#variants")).to_contain_text("(this one)")
    expect(page.locator("#outputs")).to_contain_text("sand ⊂ beach")
    expect(page.locator("#features figure")).to_have_count(10)
    expect(page.locator("#predictions figure")).to_have_count(6)
    seen.predict()
    expect(page.locator("figure[data-name=price] figcaption")).to_contain_text("shifted")
    expect(page.locator("figure[data-name=price] rect.now")).to_have_count(20)
    expect(page.locator("figure[data-name=member] figcaption")).to_contain_text("alike")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 360)])
def test_the_page_is_accessible_in_both_schemes_and_on_small_screens(
    chromium: Browser, stays_server: Server, scheme: Any, width: int
):
    page = chromium.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    page.goto(f"http://127.0.0.1:{stays_server.http}/")
    field_of(page, "price").fill("-5")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#wrong-price")).to_be_visible()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_snapshot()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_nothing_but_the_pages_own_script_is_executed(seen: Seen):
    seen.page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.bad = 1'; "
        "document.body.append(s); }"
    )
    assert seen.page.evaluate("window.bad") is None
    assert "Content Security Policy" in seen.complaints[0]
