"""Pages are complete, follow the options, and escape all names."""

import re
import sys

import pytest
from report.fake_evaluation import ramp, result, scores, write_evaluation, write_run
from report.parsed_page import page_of

from torchsep import audio
from torchsep.report import make_report
from torchsep.report.items import items_of_files

HOSTILE = "</title><script>alert(1)</script>\" onload='x' <b>&"


def test_every_element_is_closed_and_nothing_is_loaded(tmp_path):
    report, page = page_of(write_evaluation(tmp_path), masks=True)
    assert page.open == []
    for _, attributes in page.found:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert re.match(r"(data:|#)", attributes.get(name, "#")), attributes
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    style_and_scripts = "".join(data for tag, data in page.texts if tag in {"style", "script"})
    assert not re.search(r"https?://|@import|url\(\s*['\"]?(?!#)|fetch\(|XMLHttpRequest|import\(", style_and_scripts)
    assert "//cdn" not in text
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert report.size == (tmp_path / "page.html").stat().st_size == len(text.encode())


def test_the_first_ten_tracks_have_digits(tmp_path):
    write_evaluation(tmp_path, ids=("a",), labels=[f"method {number}" for number in range(12)], seconds=0.1)
    _, page = page_of(tmp_path)
    assert len(page.all("audio")) == 14
    keys = [data for tag, data in page.texts if tag == "kbd"]
    digits = list("1234567890")
    assert keys[-10:] == digits
    assert keys[:-10] == ["space", "←", "→", "1", "9", "0", "↑", "↓"]


def test_long_names_are_shown_whole(tmp_path):
    label = "a separator " + "with_a_very_long_name, " * 12
    write_run(tmp_path, "run", [result("a", scores(1.0))], label=label.strip())
    _, page = page_of(tmp_path)
    style = next(data for tag, data in page.texts if tag == "style")
    assert "ellipsis" not in style
    assert not re.search(r"body \{[^}]*max-width", style)
    assert sum(label.strip() in data for tag, data in page.texts if tag == "th") >= 2
    drawn = "".join(data for tag, data in page.texts if tag == "tspan")
    assert label.replace(" ", "") in drawn.replace(" ", "")
    assert "…" not in drawn


def test_hostile_names_stay_text(tmp_path):
    row = result(HOSTILE, {HOSTILE: {"estimate": HOSTILE, HOSTILE: 1.0}})
    failed = {"id": "b", "error": HOSTILE}
    run = write_run(
        tmp_path, "run", [row, failed], label=HOSTILE, machine=HOSTILE, data={"name": HOSTILE, "x": HOSTILE}
    )
    write_run(tmp_path, "other", [row], label="o" + HOSTILE, metrics={HOSTILE: HOSTILE})
    _, page = page_of(tmp_path)
    assert run.exists()
    assert page.open == []
    assert len(page.all("script")) == 3
    assert page.all("b") == []
    assert not [name for _, attributes in page.found for name in attributes if name.startswith("on")]
    assert any(HOSTILE in data for tag, data in page.texts if tag == "h1")
    assert {item["data-name"] for tag, item in page.found if item.get("class") == "item"} == {HOSTILE, "b"}


def test_limits_are_said(tmp_path):
    write_evaluation(tmp_path, ids=tuple("abcde"))
    report, page = page_of(tmp_path, items=2)
    assert (report.items, report.num_audible) == (5, 2)
    assert len(page.all("audio")) == 2 * 4
    assert len([1 for _, attributes in page.found if attributes.get("class") == "item"]) == 5
    assert any("first 2 of 5 items" in data for _, data in page.texts)
    none, silent = page_of(tmp_path, items=0)
    assert none.size < report.size
    assert silent.all("audio") == silent.all("img") == []


def test_of_thousands_of_items_hundreds_are_listed(tmp_path):
    write_run(tmp_path, "run", [result(f"item {number}", scores(number % 7)) for number in range(510)])
    report, page = page_of(tmp_path)
    assert report.items == 510
    assert len([1 for _, attributes in page.found if attributes.get("class") == "item"]) == 500
    assert sum("The first 500 of 510 items are listed" in data for _, data in page.texts) == 2
    assert sum(re.fullmatch(r"item \d+", data) is not None for tag, data in page.texts if tag == "a") == 500


def test_progress_is_reported(tmp_path):
    write_evaluation(tmp_path, ids=("a", "b"))
    reported = []
    make_report([tmp_path], tmp_path / "page.html", receive=lambda done, total: reported.append((done, total)))
    assert reported == [(1, 2), (2, 2)]


def test_points_lead_to_items(tmp_path):
    write_run(tmp_path, "run", [result(f"item {number}", scores(number)) for number in range(5)])
    _, page = page_of(tmp_path)
    anchors = {attributes["id"] for _, attributes in page.found if "id" in attributes}
    links = [link["href"] for link in page.all("a")]
    assert len(links) == 1 + 2 * 5 + 5  # skip, points of two metrics, table of scores
    assert {link.removeprefix("#") for link in links} <= anchors


def rows_of(text):
    """Cells of the table of scores as (text, sort value), its columns as (name, first order), and its links."""
    section = text.partition('<section id="scores"')[2].partition("</section>")[0]
    columns = re.findall(r'<th scope="col"[^>]*?(?: data-first="(\w+)")?(?: title="[^"]*")?>([^<]*)', section)
    body = section.partition("<tbody>")[2]
    rows = [re.findall(r'data-value="([^"]*)"', row) for row in body.split("<tr")[1:]]
    return columns, rows, re.findall(r'href="#item-(\d+)">([^<]*)', body)


def test_scores_of_all_items_are_sorted_worst_first(tmp_path):
    both = {"music": {"si_sdr": 1.0, "errors": 5.0}, "voice": {"si_sdr": 4.0, "errors": None}}
    write_run(tmp_path, "one", [result("a", both), result("b", {"voice": {"si_sdr": "-inf", "errors": 2.0}})])
    write_run(tmp_path, "two", [{"id": "a", "error": "too short"}, result("b", {"voice": {"si_sdr": 9.0}})])
    make_report([tmp_path], tmp_path / "page.html")
    columns, rows, links = rows_of((tmp_path / "page.html").read_text(encoding="utf-8"))
    names = [(name.strip(), first) for first, name in columns]
    assert names == [
        ("Item", "ascending"), ("Separator", ""), ("SI-SDR", "ascending"), ("errors", "descending")
    ]  # fmt: skip
    assert rows == [
        ["0", "one", "2.5", "5.0"],  # the mean of the sources that have a figure
        ["0", "two"],
        ["1", "one", "-Infinity", "2.0"],
        ["1", "two", "9.0", ""],
    ]
    assert links == [("0", "a"), ("0", "a"), ("1", "b"), ("1", "b")]
    assert "failed: too short" in (tmp_path / "page.html").read_text(encoding="utf-8").partition('id="items"')[0]


def test_results_without_audio_are_figures(tmp_path):
    write_run(tmp_path, "run", [result("a", scores(1.0))])
    report, page = page_of(tmp_path)
    assert (report.num_audible, page.all("audio")) == (0, [])
    assert any("No audio was saved" in data for _, data in page.texts)


def test_files_that_cannot_be_read_are_named(tmp_path):
    write_evaluation(tmp_path, ids=("a", "b"))
    (tmp_path / "first/audio/0/foreground.flac").unlink()
    (tmp_path / "second/audio/0/foreground.flac").write_bytes(b"nothing")
    report, page = page_of(tmp_path)
    assert len(report.errors) == 2
    assert len(page.all("audio")) == 8 - 2
    assert sum("foreground.flac" in data for tag, data in page.texts if tag == "p") == 2


def test_folders_of_files_are_items(tmp_path):
    for name in ("one/voice", "one/music", "deep/two/voice", "one/mixture"):
        audio.write(tmp_path / f"out/{name}.wav", ramp(0.2), 16000)
    audio.write(tmp_path / "in/two.flac", ramp(0.2), 16000)
    items = items_of_files([tmp_path / "out"], [tmp_path / "in/two.flac"])
    found = {item.id: [track.name for track in item.tracks] for item in items}
    assert found == {"one": ["Mixture", "music", "voice"], "deep/two": ["Mixture", "voice"]}
    (item,) = items_of_files([tmp_path / "out/one/voice.wav", tmp_path / "in/two.flac"])
    assert (item.id, [track.name for track in item.tracks]) == ("Files", ["voice", "two"])
    (item,) = items_of_files([tmp_path / "out/one"], [tmp_path / "in/two.flac"])  # one for one
    assert [track.name for track in item.tracks] == ["Mixture", "Mixture", "music", "voice"]
    with pytest.raises(ValueError, match="--mixture must be called as one of the folders"):
        items_of_files([tmp_path / "out"], [tmp_path / "out/one/voice.wav"])
    with pytest.raises(FileNotFoundError, match="missing does not exist"):
        items_of_files([tmp_path / "missing"])


def test_no_page_appears_unless_it_is_complete(tmp_path, monkeypatch):
    write_evaluation(tmp_path, ids=("a",))
    (tmp_path / "page.html").write_text("before")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("torchsep.report.views.audio_uri", stop)
    with pytest.raises(KeyboardInterrupt):
        page_of(tmp_path)
    assert (tmp_path / "page.html").read_text() == "before"
    assert not list(tmp_path.glob(".torchsep*"))


@pytest.mark.parametrize("name", ["jinja2", "matplotlib"])
def test_a_missing_extra_is_one_line(tmp_path, monkeypatch, name):
    write_evaluation(tmp_path, ids=("a",))
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"{name} must be installed for reports: pip install 'torchsep\[report\]'"):
        page_of(tmp_path)
