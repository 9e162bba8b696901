"""The page in a real browser, against the real service and the shipped model."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

import perfcast
from tests.browser.conftest import Tab

OpenTab = Callable[..., Tab]
VIEWS = ("predict", "sweep", "recommend", "models")

# Pixels of the canvas within a small distance of each CSS variable's colour.
COUNT_COLOURS = """
([selector, names]) => {
  const canvas = document.querySelector(selector + " canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const styles = getComputedStyle(document.documentElement);
  return names.map((name) => {
    const hex = styles.getPropertyValue(name).trim();
    const want = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    let count = 0;
    for (let at = 0; at < data.length; at += 4) {
      const near = want.every((each, i) => Math.abs(each - data[at + i]) < 12);
      if (near && data[at + 3] > 200) count++;
    }
    return count;
  });
}
"""


def heading(page: Page, quantity: str) -> Locator:
    return page.get_by_role("heading", name=quantity, level=2)


def shown(page: Page, quantity: str) -> float:
    """The large number under a quantity's heading."""
    block = page.get_by_role("article").filter(has=heading(page, quantity))
    text = block.locator("p.value").inner_text()
    return float(text.split()[0].replace(",", ""))


def drawn(page: Page, selector: str, *names: str) -> list[int]:
    counts: list[int] = page.evaluate(COUNT_COLOURS, [selector, list(names)])
    return counts


def test_a_prediction(tab: Tab) -> None:
    tab.go()
    page = tab.page
    page.get_by_label("gpu", exact=True).select_option("b200_sxm")
    page.get_by_label("dtype").select_option("nvfp4")
    page.get_by_label("m", exact=True).fill("64")
    page.keyboard.press("Enter")
    answer = perfcast.load("gemm").predict(gpu="b200_sxm", dtype="nvfp4", m=64, n=4096, k=8192)
    (record,) = answer.records()
    expect(page.get_by_role("status")).to_contain_text(
        f"{record['latency_ms']:#.4g}".rstrip("."), timeout=10_000
    )
    assert shown(page, "latency") == pytest.approx(record["latency_ms"], rel=1e-3)
    assert shown(page, "power") == pytest.approx(record["power_w"], rel=1e-3)
    words = {"in_domain": "in domain", "extrapolated": "extrapolated"}
    for name in ("latency", "power"):
        column = {"latency": "latency_ms_status", "power": "power_w_status"}[name]
        expect(heading(page, name)).to_contain_text(words[record[column]])
    results = page.get_by_label("Answer")
    for reason in record["reasons"]:
        expect(results).to_contain_text(reason)
    expect(results).to_contain_text("90\u202f% interval")
    expect(results).to_contain_text("roofline")
    expect(results).to_contain_text(record["model"])


def test_an_error_is_shown_beside_its_field(tab: Tab) -> None:
    tab.go()
    page = tab.page
    m = page.get_by_label("m", exact=True)
    expect(page.locator("article").first).to_be_visible()
    m.fill("0")
    page.keyboard.press("Enter")
    expect(m).to_have_attribute("aria-invalid", "true")
    expect(m).to_have_accessible_description("rows of A and C (tokens) must be a whole number "
                                             "from 1 to 16777216, not 0")  # fmt: skip
    expect(m).to_be_focused()
    expect(page.get_by_role("alert")).to_have_text("Not answered: see what is said beside m.")
    expect(page.locator("[aria-invalid]")).to_have_count(1)
    m.fill("12")
    page.keyboard.press("Enter")
    expect(page.locator("[aria-invalid]")).to_have_count(0)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_link_with_an_unknown_value_says_what_is_known(tab: Tab) -> None:
    tab.go("#gemm/predict?gpu=h200&n=many")
    gpu, n = tab.page.get_by_label("gpu", exact=True), tab.page.get_by_label("n", exact=True)
    expect(gpu).to_have_value("h200")
    expect(gpu).to_have_accessible_description("GPU model unknown value 'h200'; did you mean "
                                               "'h200_sxm' or 'gb200' or 'h100_sxm'?")  # fmt: skip
    expect(n).to_have_attribute("aria-invalid", "true")


def test_an_answer_withheld_says_why(tab: Tab) -> None:
    tab.go("#gemm/predict?gpu=l40s&dtype=nvfp4")
    results = tab.page.get_by_label("Answer")
    expect(heading(tab.page, "latency")).to_contain_text("no answer")
    expect(results).to_contain_text("withheld:")
    expect(results.locator("svg")).to_have_count(0)


def test_a_sweep_of_several_gpus(tab: Tab) -> None:
    tab.go("#gemm/sweep?sweep.values=h200_sxm,l40s&dtype=fp8")
    page = tab.page
    readout = page.get_by_role("region", name="Values at the cursor")
    expect(readout.get_by_role("rowheader")).to_have_text(["h200_sxm", "l40s"])
    with page.expect_request("**/predict") as asked:
        page.locator("label").filter(has_text="b200_sxm").click()
    rows = json.loads(asked.value.post_data or "")["rows"]
    per_gpu = Counter(row["gpu"] for row in rows)
    assert set(per_gpu) == {"b200_sxm", "h200_sxm", "l40s"}
    assert len(set(per_gpu.values())) == 1 and 50 < per_gpu["l40s"] <= 61
    expect(readout.get_by_role("rowheader")).to_have_text(["b200_sxm", "h200_sxm", "l40s"])
    figures = page.get_by_role("figure")
    expect(figures).to_have_count(2)
    page.wait_for_selector("figure:nth-of-type(2) canvas")
    for selector in ("figure:nth-of-type(1)", "figure:nth-of-type(2)"):
        lines = drawn(page, selector, "--line-0", "--line-1", "--line-2")
        assert all(count > 100 for count in lines), lines
        (absent,) = drawn(page, selector, "--line-3")
        assert absent < 100


def test_the_sweep_is_read_by_keyboard_and_pointer(tab: Tab) -> None:
    tab.go("#gemm/sweep?sweep.values=h200_sxm&sweep.points=16")
    page = tab.page
    slider = page.get_by_role("slider")
    cell = page.get_by_role("region", name="Values at the cursor").get_by_role("cell").first
    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", "m 1")
    expect(cell).to_contain_text("roofline")
    first = cell.inner_text()
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "m 32,768")
    assert cell.inner_text() != first
    plot = page.locator(".u-over").first
    plot.hover(position={"x": 3, "y": 60})
    expect(slider).to_have_attribute("aria-valuetext", "m 1")
    assert cell.inner_text() == first
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as CSV").click()
    assert saved.value.suggested_filename == "gemm-sweep.csv"
    table = list(csv.DictReader(saved.value.path().read_text(encoding="utf-8").splitlines()))
    assert [int(row["m"]) for row in table][::15] == [1, 32768]
    assert all(float(row["latency_ms"]) > 0 and row["gpu"] == "h200_sxm" for row in table)


def test_what_cannot_be_swept_is_said_beside_the_range(tab: Tab) -> None:
    tab.go("#gemm/sweep?sweep.from=0&sweep.points=5")
    page = tab.page
    expect(page.locator(".range > .error")).to_have_text(
        "m must be a whole number from 1 to 16777216, not 0"
    )
    page.get_by_label("points").fill("1")
    page.keyboard.press("Enter")
    expect(page.get_by_label("points")).to_have_accessible_description(
        "must be a whole number from 2 to 400"
    )


def test_a_recommendation(tab: Tab) -> None:
    tab.go("#gemm/recommend?recommend.gpus=h100_sxm,h200_sxm,b200_sxm")
    page = tab.page
    expected = perfcast.load("gemm").recommend(
        (4096, 4096, 8192), gpus=["h100_sxm", "h200_sxm", "b200_sxm"], limit=None
    )
    results = page.get_by_label("Recommendation").and_(page.get_by_role("region"))
    verdict = f"{expected.feasible} of {expected.considered} deployments fit"
    expect(results).to_contain_text(verdict)
    table = page.get_by_role("region", name="Deployments, best first")
    rows = table.get_by_role("row")
    expect(rows).to_have_count(1 + 10)
    best = expected.choices[0]
    expect(rows.nth(1)).to_contain_text(best.gpu)
    expect(rows.nth(1)).to_contain_text(f"{best.framework} \u00b7 {best.dtype}")
    page.get_by_role("button", name=f"Show all {expected.feasible}").click()
    expect(rows).to_have_count(1 + expected.feasible)
    page.get_by_label("only the Pareto front").check()
    expect(rows).to_have_count(1 + len(expected.pareto_front))
    page.wait_for_selector("figure canvas")
    assert drawn(page, "figure", "--accent")[0] > 30
    rows.nth(2).click()
    second = [choice for choice in expected.choices if choice.pareto][1]
    picked = page.locator(".picked")
    expect(picked).to_contain_text(f"{second.gpu} \u00b7 {second.framework} \u00b7 {second.dtype}")


def test_constraints_shapes_and_their_errors(tab: Tab) -> None:
    tab.go("#gemm/recommend?recommend.gpus=h200_sxm")
    page = tab.page
    page.get_by_role("button", name="Add a shape").click()
    second = page.get_by_role("group", name="Shape 2")
    second.get_by_label("n", exact=True).fill("0")
    page.get_by_label("max power").fill("-1")
    page.keyboard.press("Enter")
    power = page.get_by_label("max power")
    expect(power).to_have_accessible_description("must be a positive number, not -1")
    power.fill("")
    page.keyboard.press("Enter")
    expect(second.get_by_label("n", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.locator("[aria-invalid]")).to_have_count(1)
    second.get_by_role("button", name="Remove shape 2").click()
    page.get_by_label("max latency").fill("0.0001")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Closest miss")).to_be_visible()
    page.get_by_text("What was left out, and why").click()
    expect(page.get_by_text("latency above 0.0001\u202fms")).to_be_visible()


def test_the_model_card(tab: Tab) -> None:
    tab.go("#gemm/models")
    page = tab.page
    card = perfcast.load("gemm").bundle.card
    expect(page.get_by_role("heading", name=f"gemm@{card['version']}")).to_be_visible()
    site = page.get_by_role("region", name=f"latency: {card['metrics']['site']['title']}")
    by_gpu = [row for row in card["metrics"]["site"]["rows"] if list(row["group"]) == ["gpu"]]
    expect(site.get_by_role("rowheader")).to_have_text([row["group"]["gpu"] for row in by_gpu])
    expect(site.get_by_role("cell").first).to_have_text(f"{by_gpu[0]['median_ape_percent']:.1f}")
    page.get_by_label("by", exact=True).select_option("gpu, framework")
    expect(site.get_by_role("columnheader").nth(1)).to_have_text("framework")
    for reason in card["reasons"]:
        expect(page.get_by_text(reason, exact=True)).to_be_visible()
    expect(page.get_by_text(card["data"]["source"])).to_be_visible()


def test_everything_by_keyboard(tab: Tab) -> None:
    tab.go()
    page = tab.page
    expect(page.locator("article").first).to_be_visible()
    order = []
    for _ in range(14):
        page.keyboard.press("Tab")
        order.append(page.evaluate("""() => {
          const on = document.activeElement, style = getComputedStyle(on);
          const visible = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
          return [on.name || on.textContent, visible];
        }"""))  # fmt: skip
    names = [name for name, _ in order]
    assert names[0] == "Skip to the content"
    assert names[3:] == [
        "Predict", "Sweep", "Recommend", "Model",
        "gpu", "framework", "framework_version", "dtype", "m", "n", "k",
    ]  # fmt: skip
    assert all(visible for _, visible in order), order
    for key in ("Control+a", "1", "2", "8", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("pre").first).to_contain_text('"k":128')
    for _ in range(9):
        page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("link", name="Sweep")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Sweep")).to_have_attribute("aria-current", "page")
    expect(page.get_by_role("link", name="Sweep")).to_be_focused()
    expect(page.get_by_role("slider")).to_be_visible()


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_never_scrolls_sideways(open_tab: OpenTab, dark: bool) -> None:
    tab = open_tab(width=360, height=740, dark=dark)
    ready = {"predict": "article", "sweep": "canvas", "recommend": "canvas", "models": "table"}
    for view in VIEWS:
        tab.go(f"#gemm/{view}")
        tab.page.wait_for_selector(ready[view])
        width = tab.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360, view
    tab.go("#gemm/predict?gpu=unknown&m=0&n=0&k=0")
    expect(tab.page.get_by_role("alert")).to_be_visible()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_light_and_dark_follow_the_device(tab: Tab) -> None:
    tab.go("#gemm/sweep?sweep.values=h200_sxm")
    page = tab.page
    page.wait_for_selector("figure:nth-of-type(2) canvas")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    red, green, blue = json.loads(page.evaluate(background).replace("rgb(", "[").replace(")", "]"))
    assert max(red, green, blue) < 64
    page.wait_for_timeout(100)
    assert drawn(page, "figure", "--line-0")[0] > 100  # the charts took the new colours


@pytest.mark.parametrize("view", ["predict", "sweep", "recommend"])
def test_a_link_shows_the_same_again(open_tab: OpenTab, view: str) -> None:
    there = open_tab()
    there.go(f"#gemm/{view}")
    said = there.page.get_by_role("status")
    expect(said).not_to_be_empty()
    if view == "predict":
        there.page.get_by_label("m", exact=True).fill("777")
    elif view == "sweep":
        there.page.get_by_label("points").fill("7")
    else:
        there.page.get_by_label("max power").fill("500")
    before = said.inner_text()
    there.page.keyboard.press("Enter")
    expect(said).not_to_have_text(before)
    here = open_tab()
    here.go(there.page.url.removeprefix(f"{there.address}/"))
    expect(here.page.get_by_role("status")).to_have_text(said.inner_text())


def test_views_share_their_question_and_the_way_back(tab: Tab) -> None:
    tab.go("#gemm/predict?gpu=l4&dtype=bfloat16&k=1024")
    page = tab.page
    page.get_by_role("link", name="Sweep").click()
    expect(page.get_by_label("dtype")).to_have_value("bfloat16")
    expect(page.get_by_label("k", exact=True)).to_have_value("1024")
    page.go_back()
    expect(page.get_by_label("gpu", exact=True)).to_have_value("l4")


def test_a_token_is_asked_for_and_kept(tab: Tab) -> None:
    asked: list[str | None] = []

    def guard(route: Route) -> None:
        given = route.request.headers.get("authorization")
        asked.append(given)
        if given == "Bearer sesame":
            return route.continue_()
        error = {"type": "Unauthorized", "message": "a token is needed", "problems": []}
        return route.fulfill(status=401, json={"error": error})

    page = tab.page
    page.route("**/v1/**", guard)
    tab.go()
    field = page.get_by_role("textbox", name="token")
    expect(page.get_by_role("alert")).to_contain_text("asks for a token: a token is needed")
    expect(field).to_be_focused()
    field.fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The token was refused")
    field.fill("sesame")
    page.keyboard.press("Enter")
    expect(page.locator("article").first).to_be_visible()
    expect(field).to_have_count(0)
    assert asked[:2] == [None, "Bearer wrong"]
    page.reload()
    expect(page.locator("article").first).to_be_visible()
    assert asked[-1] == "Bearer sesame"


def test_a_service_that_is_gone_is_said_and_tried_again(tab: Tab) -> None:
    page = tab.page
    page.route("**/v1/tasks", lambda route: route.abort())
    tab.go()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.unroute("**/v1/tasks")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("article").first).to_be_visible()
    page.route("**/predict", lambda route: route.fulfill(status=500, body="oops"))
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("alert")).to_contain_text("The service answered 500.")


OTHER_TASK: dict[str, Any] = {
    "name": "towers",
    "title": "How long a tower of blocks stands",
    "inputs": [
        {"name": "site", "kind": "category", "unit": None, "required": True, "default": None,
         "description": "where", "example": "hill", "allowed": ["beach", "hill"],
         "minimum": None, "maximum": None},
        {"name": "height_m", "kind": "number", "unit": "m", "required": True, "default": None,
         "description": "how high", "example": 2.5, "allowed": None, "minimum": 0, "maximum": 9},
    ],
    "outputs": [{"name": "time_s", "unit": "s", "description": "until it falls", "interval": True,
                 "derived_from": []}],
    "predict": "/v1/towers/predict",
    "roofline": None,
    "recommend": None,
}  # fmt: skip


def test_a_task_to_come_gets_form_answer_and_sweep_for_nothing(tab: Tab) -> None:
    def tasks(route: Route) -> None:
        listed = route.fetch().json()
        route.fulfill(json=[*listed, OTHER_TASK])

    def answer(route: Route) -> None:
        rows = json.loads(route.request.post_data or "")["rows"]
        told = [
            {"time_s": time_s, "time_s_low": 0.9 * time_s, "time_s_high": 1.2 * time_s,
             "time_s_status": "in_domain", "status": "in_domain", "reasons": []}
            for time_s in (14 / (len(row["site"]) - 3 + row["height_m"]) for row in rows)
        ]  # fmt: skip
        route.fulfill(json={"model": "towers@1", "coverage": 0.8, "rows": told})

    page = tab.page
    page.route("**/v1/tasks", tasks)
    page.route("**/v1/towers/predict", answer)
    tab.go()
    page.get_by_label("task").select_option("towers")
    expect(page.get_by_label("height m [m]")).to_have_value("2.5")
    expect(page.get_by_label("Answer")).to_contain_text("80\u202f% interval: 3.60 to 4.80 s")
    assert shown(page, "time") == 4
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(
        ["Predict", "Sweep", "Model"]
    )
    page.get_by_role("link", name="Sweep").click()
    page.wait_for_selector("canvas")
    expect(page.get_by_role("rowheader")).to_have_text(["beach", "hill"])
    assert all(count > 50 for count in drawn(page, "figure", "--line-0", "--line-1"))
