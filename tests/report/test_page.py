"""The pages in a real browser, at the width of a phone and of a projector, and what must never be on them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from copsd_bench.records.schema import RunRecord
from copsd_bench.records.store import write_record
from tests.cli import copsd_bench
from tests.records.factory import like, record
from tests.report.browser import INSTALL, Page, chromium, programs
from tests.report.collapse import COLLAPSED, HEALTHY, collapse_record

PHONE, PROJECTOR = 390, 1920
# Colours of all text against what lies behind it, as WCAG 2.1 defines contrast; SVG text is its fill on the card.
CONTRAST = """
const light = c => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 };
const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
const parts = color => color.match(/[\\d.]+/g).map(Number);
const behind = element => {
  for (let e = element; e; e = e.parentElement) {
    const found = parts(getComputedStyle(e).backgroundColor);
    if (found.length < 4 || found[3] > 0) return found;
  }
  return [255, 255, 255];
};
const low = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || element.closest('title, style') || !element.checkVisibility()) continue;
  const style = getComputedStyle(element);
  const ink = luminance(parts(element.closest('svg') ? style.fill : style.color));
  const paper = luminance(behind(element));
  const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  if (ratio < 4.5) low.push([walker.currentNode.data.trim().slice(0, 40), Math.round(ratio * 100) / 100]);
}
return low;
"""
CHARTS = """
return [...document.querySelectorAll('.chart')].map(chart => {
  const svg = chart.querySelector(':scope > svg'), box = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')];
  return {
    axes: [...svg.querySelectorAll('text.axis')].map(text => text.textContent),
    alt: svg.getAttribute('aria-label'), role: svg.getAttribute('role'),
    rows: chart.querySelectorAll('tbody tr').length,
    size: Math.min(...texts.map(text => parseFloat(getComputedStyle(text).fontSize) * box.width / 360)),
    outside: texts.filter(text => {
      const inner = text.getBoundingClientRect();
      return inner.left < box.left - 2 || inner.right > box.right + 2 || inner.bottom > box.bottom + 2;
    }).map(text => text.textContent),
  };
});
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    """Chromium; where it is not installed the tests are skipped."""
    if programs() is None:
        # A browser is no Python package: the extra `test` cannot bring it.
        pytest.skip(INSTALL)
    with chromium() as page:
        yield page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on three records and a leaderboard, made by the command line."""
    folder = tmp_path_factory.mktemp("pages")
    write(folder, base=record(), collapsed=collapse_record(COLLAPSED), healthy=collapse_record(HEALTHY))
    made(copsd_bench("report", "base.json", "collapsed.json", "healthy.json", "-o", "report.html", cwd=folder))
    made(copsd_bench("leaderboard", ".", "--html", "board.html", cwd=folder))
    return folder


def write(folder: Path, **records: RunRecord) -> None:
    for name, content in records.items():
        write_record(content, folder / f"{name}.json")


def made(done: "object") -> str:
    assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
    return str(done.stdout)  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [PHONE, PROJECTOR])
@pytest.mark.parametrize("name", ["report", "board"])
def test_a_page_fits_the_screen_and_fetches_nothing(browser: Page, folder: Path, name: str, width: int) -> None:
    browser.requests()
    browser.show(folder / f"{name}.html", width)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.requests() == [(folder / f"{name}.html").resolve().as_uri()]
    assert browser.log("browser") == []


@pytest.mark.parametrize("width", [PHONE, PROJECTOR])
@pytest.mark.parametrize("name", ["report", "board"])
def test_every_chart_has_units_words_and_numbers(browser: Page, folder: Path, name: str, width: int) -> None:
    browser.show(folder / f"{name}.html", width)
    charts = browser.run(CHARTS)
    assert len(charts) >= (20 if name == "report" else 5)
    for chart in charts:
        assert chart["axes"], chart["alt"]
        assert all(re.search(r"\((?!number)[^()]+\)$", label) or "(number)" in label for label in chart["axes"]), chart
        assert chart["role"] == "img"
        assert len(chart["alt"]) > 30
        assert chart["rows"] > 0
        assert chart["outside"] == [], chart["alt"]
        assert chart["size"] >= 11.5, chart["alt"]  # CSS pixels


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report", "board"])
def test_text_can_be_read_on_its_background(browser: Page, folder: Path, name: str, scheme: str) -> None:
    browser.show(folder / f"{name}.html", PROJECTOR, scheme=scheme)
    assert browser.run(CONTRAST) == []


def test_print_shows_the_numbers_behind_the_charts(browser: Page, folder: Path) -> None:
    shown = "return [...document.querySelectorAll('.chart table')].filter(t => t.checkVisibility()).length"
    browser.show(folder / "report.html", 900)
    assert browser.run(shown) == 0
    browser.show(folder / "report.html", 900, type="print")
    assert browser.run(shown) == len(browser.run(CHARTS))


def test_series_differ_without_colour(folder: Path) -> None:
    """Each run has a marker of its own, and each curve of a chart its own dash pattern."""
    page = (folder / "report.html").read_text()
    swatches = re.findall(r'<svg class="swatch.*?>(<\w+)', page.partition("</header>")[0])
    assert len(swatches) == len(set(swatches)) == 3
    for chart in re.findall(r"<figure.*?</figure>", page, re.DOTALL):
        dashes = re.findall(r"<polyline[^>]*?(?:stroke-dasharray=\"([^\"]*)\")?/?>", chart)
        assert len(dashes) == len(set(dashes))


def test_the_file_holds_everything(folder: Path) -> None:
    for name in ("report", "board"):
        page = (folder / f"{name}.html").read_text()
        assert "default-src 'none'" in page
        assert not re.search(r"<(?:script|link|img|iframe|object)\b|\b(?:src|href)=|@import", page)
        assert set(re.findall(r"url\(([^)]*)\)", page)) <= {"#stripes"}


def test_verdicts_stand_at_the_top(folder: Path) -> None:
    top = (folder / "report.html").read_text().partition('<section id="tradeoff"')[0]
    assert re.findall(r'<p class="state">(\w+)</p>', top) == ["collapsed", "healthy"]
    assert "shortening" in top


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    write(tmp_path, base=record(), other=record(like(length=0.4), run_seed=1))
    made(copsd_bench("report", "base.json", "other.json", cwd=tmp_path))
    page = (tmp_path / "report.html").read_text()
    section = re.search(r'<section id="divergence".*?</section>', page, re.DOTALL)
    assert section is not None
    assert "<figure" not in section[0]
    assert "copsd-bench run --task kl_direction --model tiny --reference base" in section[0]
    assert "hold no texts" in page


def test_texts_of_records_cannot_become_markup(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>'
    run = record()
    run = run.model_copy(update={"notes": [evil], "model": run.model.model_copy(update={"name": evil})})
    write(tmp_path, base=run)
    made(copsd_bench("report", "base.json", cwd=tmp_path))
    assert "<script" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing.json"], "There is no record missing.json"),
        (["base.json", "-o", "."], "--out . is a folder"),
        (["base.json", "--logs", "a", "--logs", "b"], "2 --logs were given for 1 records"),
        (["base.json", "--logs", "nowhere"], "There is no folder nowhere"),
        (["empty.json"], "has no task"),
        (["base.json", "--rules", "none.yaml"], "There is no rules file none.yaml"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    write(tmp_path, base=record(), empty=record(tasks=[]))
    done = copsd_bench("report", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "report.html").exists()
