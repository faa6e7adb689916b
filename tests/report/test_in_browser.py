"""The page in a browser: no errors, players keep their position, keys and sorting work."""

import shutil

import pytest
from report.fake_evaluation import write_evaluation

from torchsep.report import ReportOptions, make_report

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOSTILE = "<script>window.hacked = 1</script>\"><img src=x onerror='window.hacked = 2'>"
SECONDS = 30.0  # of a track: enough for a slow machine
PATIENCE = 60_000  # milliseconds
PLAYER = "document.querySelector('.player').player"

# The position in the track that is playing, and the position that the player shows, read at once.
LISTEN = f"""() => {{
  const player = {PLAYER};
  const {{ engine }} = player;
  if (!engine.output) return {{ value: 0, shown: 0, now: 0 }};
  const {{ context }} = engine.output;
  if (!window.tap) {{ window.tap = context.createAnalyser(); engine.output.connect(window.tap); }}
  const samples = new Float32Array(window.tap.fftSize);
  window.tap.getFloatTimeDomainData(samples);
  const value = samples.at(-1);
  return {{ value, shown: player.position, now: context.currentTime }};
}}"""


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(FLAGS), timeout=PATIENCE)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    ids = (HOSTILE, *(f"song {number}" for number in range(9)))
    write_evaluation(folder, ids, seconds=SECONDS, rate=8000)
    make_report([folder], folder / "page.html", ReportOptions(seconds=0, items=2, masks=True))
    return folder / "page.html"


@pytest.fixture
def page(browser, report):
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    said, asked = [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(report.as_uri())
    yield opened
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "file:", "blob:"))] == []


def listen(page, sign):
    """The output of the player once it is non-zero, with the sign of the track."""
    page.wait_for_function(f"sign => ({LISTEN})().value * sign > 0.001", arg=sign)
    faded = page.evaluate(LISTEN)["now"] + 0.05
    page.wait_for_function(f"time => ({LISTEN})().now > time", arg=faded)
    played = page.evaluate(LISTEN)
    return abs(played["value"]) / 0.9 * SECONDS, played["shown"], played["now"]


def place(page):
    return page.evaluate(f"{PLAYER}.position")


def chosen(page):
    return page.evaluate(f"{PLAYER}.chosen")


def is_playing(page):
    return page.evaluate(f"{PLAYER}.isPlaying")


def test_names_do_nothing(page):
    assert page.evaluate("window.hacked") is None
    assert page.locator("details.item").first.get_attribute("data-name") == HOSTILE


def test_switching_keeps_the_place(page):
    page.click(".play")
    before, shown, then = listen(page, 1)
    assert before == pytest.approx(shown, abs=0.02)
    durations = page.evaluate(f"{PLAYER}.engine.buffers.map((buffer) => buffer.duration)")
    assert durations == pytest.approx([SECONDS] * 4, abs=1e-3)
    page.keyboard.press("2")
    after, shown, now = listen(page, -1)
    assert after == pytest.approx(shown, abs=0.02)
    assert after - before == pytest.approx(now - then, abs=0.02)
    page.locator("input[type=radio]").first.check()
    again, _, later = listen(page, 1)
    assert again - after == pytest.approx(later - now, abs=0.02)
    assert page.locator(".now").first.inner_text() != "0:00.0"


def test_seeking_and_loops(page):
    page.click(".play")
    listen(page, 1)
    page.locator(".picture").first.click(position={"x": 400, "y": 30})
    width = page.locator(".picture").first.bounding_box()["width"]
    wanted = SECONDS * 400 / width
    played, shown, _ = listen(page, 1)
    assert played == pytest.approx(shown, abs=0.02)
    assert wanted - 0.1 < shown < wanted + 10
    page.click(".loop")
    assert page.locator(".loop").first.get_attribute("aria-pressed") == "true"
    page.evaluate(f"{PLAYER}.seek({SECONDS} - 0.2)")
    page.wait_for_function(f"() => {PLAYER}.position < 5 && {PLAYER}.position > 0.1")
    played, shown, _ = listen(page, 1)
    assert played == pytest.approx(shown, abs=0.02)
    page.click(".loop")
    page.evaluate(f"{PLAYER}.seek({SECONDS} - 0.2)")
    page.wait_for_function(f"() => !{PLAYER}.isPlaying")
    assert place(page) == pytest.approx(SECONDS)


def test_keys(page):
    page.locator(".track").nth(1).locator(".picture").first.click(position={"x": 0, "y": 5})
    assert (chosen(page), is_playing(page)) == (1, False)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert place(page) == pytest.approx(1.0, abs=0.1)
    page.keyboard.press("ArrowDown")
    assert chosen(page) == 2
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert chosen(page) == 3
    page.keyboard.press("1")
    assert chosen(page) == 0
    page.keyboard.press("Space")
    assert is_playing(page)
    page.wait_for_function(f"() => {PLAYER}.position > 1.5")
    page.keyboard.press("Space")
    assert not is_playing(page)
    page.keyboard.press("Home")
    assert place(page) == 0
    page.locator(".play").first.focus()
    page.keyboard.press("Space")
    assert is_playing(page)


def test_keys_reach_every_track(browser, tmp_path):
    labels = [f"method {number}" for number in range(11)]
    write_evaluation(tmp_path, ("song",), labels, seconds=0.5, rate=8000)
    make_report([tmp_path], tmp_path / "page.html")
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.locator(".play").first.focus()
    reached = []
    for _ in range(13):
        reached.append(chosen(page))
        page.keyboard.press("ArrowDown")
    assert reached == list(range(13))
    assert chosen(page) == 0
    page.keyboard.press("ArrowUp")
    assert chosen(page) == 12
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("0")
    assert chosen(page) == 9
    page.keyboard.press("ArrowDown")
    assert chosen(page) == 10
    page.close()


def test_one_player_is_active_at_a_time(page):
    page.click(".play")
    page.locator("details.item").nth(1).locator("summary").first.click()
    page.locator(".play").nth(1).click()
    assert not is_playing(page)
    assert page.evaluate("document.querySelectorAll('.player')[1].player.isPlaying")


def test_tables_are_sorted(page):
    names = page.locator(".panel tbody th").all_inner_texts
    table = page.locator(".panel table.sortable")
    assert names()[:2] == ["first", "second"]
    table.locator("th button", has_text="SI-SDR").click()
    assert names()[:2] == ["second", "first"]
    assert table.locator("th[aria-sort=descending]").count() == 1
    table.locator("th button", has_text="SI-SDR").focus()
    page.keyboard.press("Enter")
    assert names()[:2] == ["first", "second"]
    assert table.locator("th[aria-sort=ascending]").count() == 1


def test_scores_are_sorted_worst_first(page):
    table = page.locator("#scores table.sortable")
    for column, name, worst_is_lowest in ((3, "SI-SDR", True), (4, "errors", False)):
        for best_first in (False, True):
            table.locator("th button", has_text=name).click()
            values = [float(text) for text in table.locator(f"td:nth-child({column}) .value").all_inner_texts()]
            assert len(values) == 2 * 10
            assert values == sorted(values, reverse=worst_is_lowest == best_first)
    table.locator("th button", has_text="Item").click()
    assert table.locator("tbody th").nth(2).inner_text() == "song 0"
    table.locator("tbody a", has_text="song 7").first.click()
    page.wait_for_function("() => document.getElementById('item-8').open")


def test_items_are_found_and_linked(page):
    page.fill("#filter", "song 7")
    assert page.locator("details.item:visible").count() == 1
    assert page.locator("#found").inner_text() == "1 of 10 items"
    page.evaluate("document.querySelectorAll('.plot a')[3].dispatchEvent(new MouseEvent('click', { bubbles: true }))")
    page.wait_for_function("() => document.getElementById('item-3').open")
    assert page.locator("#item-3").is_visible()


@pytest.mark.parametrize("width", [700, 1400, 2400])
def test_tables_are_as_wide_as_the_window(browser, report, width):
    context = browser.new_context(viewport={"width": width, "height": 1000})
    page = context.new_page()
    page.goto(report.as_uri())
    table = page.locator(".panel table.sortable").first.bounding_box()
    assert table["width"] > width - 2 * 64 - 20
    regions = "[...document.querySelectorAll('.scroll')].every((region) => region.scrollWidth <= region.clientWidth)"
    assert page.evaluate(regions)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    context.close()


def test_narrow_dark_and_without_scripts(browser, report):
    context = browser.new_context(viewport={"width": 360, "height": 800}, color_scheme="dark")
    narrow = context.new_page()
    narrow.goto(report.as_uri())
    assert narrow.evaluate("document.documentElement.scrollWidth") == 360
    background = "getComputedStyle(document.documentElement).backgroundColor"
    dark = narrow.evaluate(background)
    narrow.click("#theme")
    assert narrow.evaluate(background) != dark
    context.close()
    context = browser.new_context(java_script_enabled=False)
    bare = context.new_page()
    bare.goto(report.as_uri())
    assert bare.locator("details[open] audio").first.is_visible()
    context.close()


def test_without_web_audio(browser, report):
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    context.add_init_script("window.AudioContext = undefined")
    page = context.new_page()
    page.goto(report.as_uri())
    page.click(".play")
    page.wait_for_function(f"() => {PLAYER}.position > 0.5")
    page.keyboard.press("3")
    assert place(page) > 0.5
    page.wait_for_function(f"() => {PLAYER}.position > 1.0")
    assert page.evaluate(f"{PLAYER}.audios.filter((audio) => !audio.paused).length") == 1
    context.close()
