"""The pages under /pages, as a browser shows them and as programs ask for them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import optuna
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dashboards.pages.routes import make_routes
from dashboards.trial_note import trial_path
from storage.artifacts import ArtifactStore
from storage.training_history import EpochRecord, add_epoch
from tests.dashboards.demo_server import Server, running_server
from tests.dashboards.demo_study import HARDWARE, complete_trial, make_demo_study, open_demo_database, queue_demo_build

CHROMIUM = shutil.which("chromium")

NEEDS_BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

PATHS = (
    "/pages",
    "/pages/builds",
    "/pages/studies/demo",
    "/pages/studies/demo/front.json",
    "/pages/studies/demo/front.json?x=lut",
    "/pages/studies/demo/trials/3",
    "/pages/studies/demo/trials/3?stage=0",
    "/pages/static/pages.css",
    "/pages/static/pages.js",
    "/pages/static/plotly.js",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with two studies and a queued build."""
    folder = tmp_path_factory.mktemp("pages")
    database = open_demo_database(folder)
    make_demo_study(database, n_trials=12)
    make_demo_study(database, "hardware", n_trials=8, goals=HARDWARE)
    queue_demo_build(database, "demo", 3)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with running_server(folder) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, server: Server, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that fails the test for each error in its console and each request to another machine."""
    context = browser.new_context(color_scheme=request.param, base_url=server.address)
    page, problems = context.new_page(), []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith(server.address) else problems.append(sent.url))
    yield page
    context.close()
    assert problems == []


@pytest.mark.parametrize("path", PATHS)
def test_each_page_is_there_and_can_load_nothing_from_elsewhere(server: Server, path: str) -> None:
    answer = httpx.get(server.address + path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert not re.search(r"https?://(?!127\.0\.0\.1)", answer.text) or path.endswith("plotly.js")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/pages/studies/nope", "study is nope; expected one of those in the database: demo, hardware"),
        ("/pages/studies/demo/trials/99", "trial is 99; expected a complete trial of demo"),
        ("/pages/studies/demo/trials/3?stage=9", "stage is 9; expected a stage of trial 3"),
        ("/pages/studies/demo/trials/3?stage=%3Cscript%3E", "stage is &lt;script&gt;; expected a whole number"),
        ("/pages/studies/%3Cscript%3E", "study is &lt;script&gt;; expected"),
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(server: Server, path: str, message: str) -> None:
    answer = httpx.get(server.address + path)
    assert answer.status_code == 404
    assert message in answer.text
    assert "<script>" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_pages_only_read(server: Server, method: str) -> None:
    assert httpx.request(method, f"{server.address}/pages/studies/demo").status_code in (404, 405)


def test_notes_link_to_the_trials_page(server: Server) -> None:
    assert httpx.get(server.address + trial_path("demo", 3)).status_code == 200


def test_files_outside_are_not_served(server: Server) -> None:
    for path in ("/pages/static/../routes.py", "/pages/static/%2e%2e%2froutes.py", "/pages/static/nope.js"):
        assert httpx.get(server.address + path).status_code == 404


def test_figures_are_sent_once_and_compressed(server: Server) -> None:
    first = httpx.get(f"{server.address}/pages/studies/demo/front.json")
    again = httpx.get(first.url, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    script = httpx.get(f"{server.address}/pages/static/plotly.js")
    assert script.headers["content-encoding"] == "gzip"
    points = [tuple(place) for trace in first.json()["data"] for place in trace.get("customdata", [])]
    assert (3, 1) in points


def test_a_study_of_hardware_has_more_axes(server: Server) -> None:
    answer = httpx.get(f"{server.address}/pages/studies/hardware")
    assert re.findall(r'<option value="(\w+)"', answer.text)[0] == "lut"
    assert "throughput_fps" in answer.text
    figure = httpx.get(f"{server.address}/pages/studies/hardware/front.json?x=dsp").json()
    assert "DSP" in str(figure["layout"]["xaxis"]["title"])


def test_every_route_reads(folder: Path) -> None:
    routes = make_routes(open_demo_database(folder), ArtifactStore(folder / "runs" / "artifacts"))
    assert {frozenset(route.methods or ()) for route in routes} == {frozenset({"GET", "HEAD"})}


@NEEDS_BROWSER
def test_a_click_on_a_point_opens_its_trial(page: Page) -> None:
    page.goto("/pages/studies/demo")
    points = page.locator("#front .scatterlayer .trace .points path")
    expect(points.first).to_be_visible()
    name = page.locator("[data-refresh=front] tbody a").first.inner_text()
    box = page.evaluate(
        """() => {
            const plot = document.getElementById('front');
            const front = plot.data.find((trace) => (trace.name || '').startsWith('Pareto front'));
            const { xaxis, yaxis, _size } = plot._fullLayout, at = plot.getBoundingClientRect();
            return [at.left + _size.l + xaxis.d2p(front.x[0]), at.top + _size.t + yaxis.d2p(front.y[0])];
        }"""
    )
    page.mouse.move(*box)
    page.mouse.click(*box)
    page.wait_for_url("**/trials/**")
    expect(page.locator("h1")).to_have_text(name)
    expect(page.locator(".plot .scatterlayer").first).to_be_visible()


@NEEDS_BROWSER
def test_points_of_a_running_search_appear_by_themselves_and_zoom_stays(page: Page, folder: Path) -> None:
    page.goto("/pages/studies/demo")
    count = "() => document.getElementById('front').data.flatMap((trace) => trace.customdata || []).length"
    page.wait_for_function(f"() => document.getElementById('front').data && ({count})() > 0")
    before = page.evaluate(count)
    page.evaluate("() => Plotly.relayout('front', {'yaxis.range': [0.1, 0.2]})")
    database = open_demo_database(folder)
    study = optuna.load_study(study_name="demo", storage=database.url)
    complete_trial(study, database)
    page.wait_for_function(f"(before) => ({count})() > before", arg=before)
    assert page.evaluate("() => document.getElementById('front')._fullLayout.yaxis.range") == [0.1, 0.2]


@NEEDS_BROWSER
def test_the_axis_is_switched_without_a_new_page(page: Page) -> None:
    page.goto("/pages/studies/hardware")
    page.locator("#axis").select_option("latency_us")
    title = "document.getElementById('front').layout?.xaxis.title"
    page.wait_for_function(f"() => JSON.stringify({title} || '').includes('atency')")
    assert page.url.endswith("?x=latency_us")


@NEEDS_BROWSER
def test_a_learning_curve_is_drawn_where_there_is_one(page: Page, folder: Path) -> None:
    page.goto("/pages/studies/demo/trials/5")
    assert page.locator("text=Learning curve").count() == 0
    trial = folder / "runs" / "artifacts" / "demo" / "trials" / "00004"  # as its checkpoints say
    for stage, epoch in ((0, 1), (0, 2), (1, 1)):
        add_epoch(trial, EpochRecord(stage, epoch, 2.5 / (stage + epoch), 0.1 * epoch, 1.0))
    page.goto("/pages/studies/demo/trials/4")
    expect(page.locator("text=Learning curve")).to_be_visible()
    expect(page.locator(".plot .scatterlayer")).to_have_count(3)  # accuracy over SNR; loss and accuracy


@NEEDS_BROWSER
@pytest.mark.parametrize("path", ["/pages", "/pages/builds", "/pages/studies/demo", "/pages/studies/demo/trials/3"])
def test_pages_are_accessible_and_fit_a_phone(page: Page, path: str) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(path)
    expect(page.locator("h1")).to_be_visible()
    page.wait_for_timeout(500)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    found = [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in found] == []
