"""Notebook 00 as a learner has it: JupyterLab in a real browser, run from top to bottom, the widget used."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlparse

import pytest

ROOT = Path(__file__).parents[2]
ARTEFACTS = ROOT / ".ci" / "artefacts"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
FLAGS += ["--disable-component-update", "--disable-sync"]
# a folded cell has no number, only a placeholder's empty prompt
PROMPTS = ".jp-Notebook .jp-CodeCell .jp-InputPrompt:not(.jp-Placeholder-prompt)"
PAGE = re.compile(r"http://127\.0\.0\.1:\d+/lab/tree/\S+\?token=[0-9a-f]+")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None and not os.environ.get("CI"), reason="no Chromium on this machine"),
]


@pytest.fixture
def address(tmp_path):
    """JupyterLab on a copy of the course, so that saving changes nothing here; its address with the token."""
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / "00_start_here.ipynb", tmp_path / "notebooks")
    (tmp_path / "notebooks" / "course").symlink_to(ROOT / "notebooks" / "course")  # a learner has it, too
    shutil.copytree(ROOT / "data", tmp_path / "data")
    settings = tmp_path / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"windowingMode": "none"}))  # every cell is in the page, seen or not
    own = {"FTKIT_DATA": str(tmp_path / "data"), "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings")}
    own |= {"FTKIT_PROGRESS": str(tmp_path / "progress.json"), "CUDA_VISIBLE_DEVICES": ""}
    log = tmp_path / "lab.log"
    with open(log, "w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "ftkit", "lab", "--no-browser", "--port", "8931"],
            stdout=output,
            stderr=output,
            env=os.environ | own,
        )
    try:
        for _ in range(600):
            found = PAGE.search(log.read_text())
            if found:
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
        assert found, log.read_text()
        yield found[0]
    finally:
        server.terminate()
        server.wait(30)


def run_all(page):
    """Run > Run All Cells, until the cells wait for the kernel: a click before the menu listens is lost."""
    for _ in range(5):
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).first.click()
        for _ in range(50):
            if any("*" in prompt for prompt in page.locator(PROMPTS).all_text_contents()):
                return
            time.sleep(0.1)
    raise AssertionError("Run All Cells started nothing")


def wait_until_run(page, *, seconds):
    """Wait until every code cell has its number; a look a second leaves the cores to the kernel."""
    for _ in range(seconds):
        prompts = page.locator(PROMPTS).all_text_contents()
        waiting = [prompt for prompt in prompts if not re.search(r"\[\d+\]", prompt)]
        if not waiting:
            return
        time.sleep(1)
    page.screenshot(path=ARTEFACTS / "notebook-00-stuck.png")
    raise AssertionError(f"after {seconds} s these cells still wait: {waiting}")


def wait_for_answer(page, *, before):
    """Wait until the widget shows rows that are not those of the sentence before."""
    for _ in range(300):
        if page.locator(".ftkit-row").all_text_contents() not in ([], before):
            return
        time.sleep(0.1)
    page.screenshot(path=ARTEFACTS / "notebook-00-stuck.png")
    raise AssertionError("the widget did not answer within 30 s")


def test_notebook_00_runs_in_jupyterlab_and_its_widget_answers(address, tmp_path):
    from playwright.sync_api import sync_playwright

    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    errors, outside = [], []
    original = tmp_path / "notebooks" / "00_start_here.ipynb"
    before_it = original.read_bytes()

    def note(url):
        if urlparse(url).hostname not in ("127.0.0.1", None):
            outside.append(url)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: note(request.url))
        page.on("websocket", lambda socket: note(socket.url))
        page.goto(address)
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        page.get_by_text("(ipykernel) | Idle").first.wait_for(timeout=60_000)  # else it asks for a kernel
        assert "/notebooks/mine/00_start_here.ipynb" in page.url
        assert page.locator(".jp-OutputArea-output").count() == 0  # a prediction is a prediction
        assert page.locator(".jp-FileBrowser:visible").count() == 0  # nothing beside the page at first
        assert page.locator(".jp-toast-message, .Toastify__toast").count() == 0  # no question about news
        run_all(page)
        wait_until_run(page, seconds=240)
        assert page.locator(PROMPTS).count() >= 10
        assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
        claims = page.locator(".jp-OutputArea-output", has_text="✓").count()
        assert claims >= 5

        sentence = page.locator(".ftkit-sentence input, .ftkit-sentence textarea").first
        sentence.scroll_into_view_if_needed()
        said = []
        for text in (
            "What a wonderful evening, every dish was delicious!",
            "Rude staff, cold soup, horrible room.",
        ):
            before = page.locator(".ftkit-row").all_text_contents()
            sentence.fill(text)
            page.locator(".ftkit-answer").first.click()
            wait_for_answer(page, before=before)
            said.append(page.locator(".ftkit-row").all_text_contents())
        page.screenshot(path=ARTEFACTS / "notebook-00-widget.png")
        page.locator(".jp-Notebook .jp-Cell").first.scroll_into_view_if_needed()
        page.screenshot(path=ARTEFACTS / "notebook-00-top.png")
        browser.close()

    assert [len(rows) for rows in said] == [2, 2]
    fine_tuned = [next(row for row in rows if "fine-tuned" in row) for rows in said]
    assert "positive" in fine_tuned[0] and "negative" in fine_tuned[1]
    assert errors == []
    assert outside == []
    assert original.read_bytes() == before_it  # the learner saves a copy
