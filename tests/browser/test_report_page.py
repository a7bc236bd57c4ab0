"""The page in a real Chromium: it renders, loads nothing, fits telephone and desk, and reads well
to everybody (axe-core), light and dark.
"""

from __future__ import annotations

import shutil
from datetime import datetime, timezone
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from bench import fleet
from postgres_backup.page import page as report_page
from tests.conftest import missing

NOW = datetime(2026, 1, 27, 9, 2, tzinfo=timezone.utc)
TEMPLATE = Path(__file__).resolve().parents[2] / "playbooks/templates/report.html.j2"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ODD = 'we "love" <b>\n' + "x" * 50
MANY = "three hundred servers"
#: made only where they are looked at: every worker imports this file
STATES = {
    "well": lambda: [fleet.server("well", 3, NOW, name="db1", keep=30, keep_weekly=4)],
    "stale": lambda: [
        fleet.server("stale", 4, NOW, name="db1"),
        fleet.server("well", 5, NOW, name="db2", keep=7, databases=("crm", "shop")),
    ],
    "failed": lambda: [fleet.server("failed", 4, NOW, name="db1", keep=30)],
    "first day": lambda: [fleet.server("first day", 4, NOW, name="db1")],
    "no backup": lambda: [fleet.server("no backup", 4, NOW, name="db1")],
    "could not be asked": lambda: [fleet.server("unasked", 4, NOW, name="db1")],
    "all of it": lambda: [
        fleet.server(kind, number, NOW, name=f"db-{number}")
        for number, kind in enumerate(fleet.KINDS)
    ],
    "odd names": lambda: [fleet.server("failed", 4, NOW, name=ODD, databases=(ODD, "shop"))],
    MANY: lambda: fleet.fleet(300, NOW),
}
WIDTHS = (360, 1400)


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if not chromium:
        missing("Chromium is not installed (sudo apt-get install chromium)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=chromium, args=FLAGS
        )  # in a folder of its own that goes with it
        yield running
        running.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """State -> the file of its page."""
    folder = tmp_path_factory.mktemp("pages")
    files = {}
    for number, (state, servers) in enumerate(STATES.items()):
        files[state] = folder / f"{number}.html"
        files[state].write_text(report_page.render(servers(), NOW, TEMPLATE.read_text()))
    return files


def opened(
    browser: Browser, file: Path, width: int = 1400, scheme: str = "light"
) -> tuple[Page, list[str]]:
    """The page, and what it complained of or asked for beside itself."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    page.on(
        "request",
        lambda request: (
            request.url == file.as_uri()
            or request.url.startswith("data:")
            or troubles.append(f"request: {request.url}")
        ),
    )
    page.goto(file.as_uri())
    return page, troubles


def overflowing(page: Page) -> list[str]:
    """What sticks out of the window, but for what scrolls in a region of its own."""
    return page.evaluate(
        """() => [...document.querySelectorAll('body *')].filter(e => {
             const box = e.getBoundingClientRect();
             return box.right > innerWidth + 1 && box.width
               && !e.closest('.scroll') && !e.closest('.skip') && !e.closest('svg');
           }).slice(0, 5).map(e => e.outerHTML.slice(0, 120))"""
    )


@pytest.mark.parametrize("state", STATES)
def test_it_renders_asks_for_nothing_fits_and_reads_well_to_everybody(browser, pages, state):
    page, troubles = opened(browser, pages[state])
    assert page.locator("h1").inner_text() == page.title()
    if state != MANY:
        unfold(page)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        fits = page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        assert fits, (width, overflowing(page))
        assert overflowing(page) == [], width
    # axe takes minutes for 300 servers: those after the twelfth are drawn like those before; the
    # table of contents stays whole
    page.evaluate(
        "[...document.querySelectorAll('details.server')].slice(12).forEach(e => e.remove())"
    )
    unfold(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page)
        assert found.violations_count == 0, (scheme, found.generate_report())
    assert troubles == []
    page.close()


def unfold(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")


def test_on_a_telephone_no_column_is_out_of_sight(browser, pages):
    """A wide table scrolls in its own region; there is none here, so nothing is cut."""
    page, _ = opened(browser, pages["all of it"], 360)
    unfold(page)
    cut = page.evaluate(
        """() => [...document.querySelectorAll('.scroll')]
             .filter(e => e.scrollWidth > e.clientWidth)
             .map(e => e.getAttribute('aria-label') || e.outerHTML.slice(0, 80))"""
    )
    assert cut == []
    assert page.evaluate(
        """() => [...document.querySelectorAll("[aria-label^='Restores'] td[data-l]")].every(
             e => getComputedStyle(e, '::before').content.startsWith('"' + e.dataset.l))"""
    )
    page.close()


def test_what_is_read_has_one_size_and_what_names_it_a_smaller_one(browser, pages):
    page, _ = opened(browser, pages["all of it"])
    unfold(page)
    sizes = page.evaluate(
        """() => [...new Set([...document.querySelectorAll('body *')].filter(
             e => !e.closest('svg, h1, h2, h3, .skip') && e.tagName != 'DD'
               && [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()))
             .map(e => getComputedStyle(e).fontSize))].sort()"""
    )
    assert sizes == ["13px", "14px", "16px"]  # labels, code, text
    page.close()


def test_axe_would_have_seen_it(browser, pages):
    """The check can fail: grey on grey is seen."""
    page, _ = opened(browser, pages["well"])
    page.add_style_tag(content="h1 { color: #ccc !important }")
    assert [violation["id"] for violation in Axe().run(page).response["violations"]] == [
        "color-contrast"
    ]
    page.close()


def test_by_keyboard_alone_from_the_top_to_a_server_and_into_it(browser, pages):
    page, _ = opened(browser, pages["three hundred servers"])
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.inner_text() == "Skip to the servers"
    box = focused.bounding_box()
    assert box["x"] >= 0
    assert box["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    closed = page.locator("details.server:not([open]) > summary").first
    closed.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    name = closed.locator("h2").inner_text()
    page.keyboard.press("Enter")
    assert page.locator("details.server[open] h2", has_text=name).is_visible()
    page.close()


def test_a_link_in_the_contents_opens_that_server(browser, pages):
    page, _ = opened(browser, pages["three hundred servers"], 360)
    link = page.locator("nav a").last
    name = link.inner_text()
    link.click()
    server = page.locator("details.server", has=page.locator("h2", has_text=name))
    page.wait_for_function("() => location.hash")
    assert server.get_attribute("open") is not None
    assert server.locator("h2").is_visible()
    box = server.locator("h2").bounding_box()
    assert 0 <= box["y"] < 900
    page.close()


def test_it_prints_in_ink_on_paper(browser, pages):
    page, _ = opened(browser, pages["all of it"], 800, "dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert not page.locator(".skip").is_visible()
    assert len(page.pdf(format="A4")) > 10_000
    page.close()
