"""A headless Chromium and the service with the shipped model, for the tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from perfcast.settings import Settings
from tests.service import running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass
class Tab:
    """A page of its own in the browser, and everything it did that it should not."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(10_000)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._see)

    def go(self, place: str = "") -> None:
        """Open the page at a place such as `#gemm/sweep`."""
        self.page.goto(f"{self.address}/{place}")

    def _hear(self, message: ConsoleMessage) -> None:
        # Chromium itself reports every refused request; refusals are what some tests ask for.
        refused = message.text.startswith("Failed to load resource")
        if message.type == "error" and not refused:
            self.complaints.append(message.text)

    def _see(self, request: Request) -> None:
        if not request.url.startswith((f"{self.address}/", "blob:")):
            self.strangers.append(request.url)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running(Settings()) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def open_tab(browser: Browser, address: str) -> Iterator[Callable[..., Tab]]:
    """Opens tabs; in the end none may have complained or asked another origin for anything."""
    tabs: list[Tab] = []

    def opened(*, width: int = 1280, height: int = 900, dark: bool = False) -> Tab:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        tabs.append(Tab(context.new_page(), address))
        return tabs[-1]

    yield opened
    for tab in tabs:
        tab.page.context.close()
        assert tab.complaints == []
        assert tab.strangers == []


@pytest.fixture
def tab(open_tab: Callable[..., Tab]) -> Tab:
    return open_tab()
