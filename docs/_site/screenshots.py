"""Take the pictures of the MLflow UI that the documentation shows, from a search that was made, in headless Chromium.

Examples:
    python docs/_site/screenshots.py digits-student
    python docs/_site/screenshots.py digits-student --home /tmp/home --output /tmp/pictures --chromium /usr/bin/chromium

Needs `pip install -e '.[docs]'` and a Chromium (Debian's package `chromium`).
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from PIL import Image
from playwright.sync_api import ConsoleMessage, Error, Page, sync_playwright

from dfkd.tracking.connection import TRAINING_PAGES

#: What MLflow's own pages (3.17) write to the console as errors, whatever they show: text, and the end of the address
#: that it is about. A store without users has no current one.
MLFLOWS_OWN_ERRORS = (
    ("Failed to load resource: the server responded with a status of 404", "/mlflow/users/current"),
    ("null ResizeObserver loop completed with undelivered notifications.", ""),
)
SECONDS = 120  # that a page, or the server's start, may take
COLOURS = 128
IMAGES = "synthetic images"  # how runs call their pictures


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture.

    Attributes:
        name: of its file, without the ending.
        address: within the UI, from `#` on.
        texts: that the page must show.
        scroll: text to bring to the top first.
        has_slider: whether the page shows pictures of several steps, of which a slider chooses one.
    """

    name: str
    address: str
    texts: tuple[str, ...]
    scroll: str | None = None
    has_slider: bool = False


def main() -> None:
    """Take every picture, and fail if a page lacks what it should show or complains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the search space, as MLflow's experiment and the registered model have it")
    parser.add_argument("--home", default="~/.dfkd", help="folder that holds mlflow.db")
    parser.add_argument("--output", default=str(Path(__file__).parents[1] / "images"), help="folder of the pictures")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser's executable")
    arguments = parser.parse_args()
    store = f"sqlite:///{Path(arguments.home).expanduser().absolute()}/mlflow.db"
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    with served(store) as address:
        problems = take(shots_of(store, arguments.name), address, output, chromium=arguments.chromium)
    if problems:
        raise SystemExit("\n".join(problems))


def shots_of(store: str, name: str) -> list[Shot]:
    """Return the pictures of the newest search of this name and of its student."""
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        raise SystemExit(f"{store}: expected an experiment '{name}'. Run `python experiments/search.py` first.")
    where = f"/experiments/{experiment.experiment_id}"
    newest = ["start_time DESC"]
    searches = client.search_runs(
        [experiment.experiment_id], "tags.`dfkd.kind` = 'search'", order_by=newest, max_results=1
    )
    if not searches:
        raise SystemExit(f"{store}: the experiment '{name}' holds no search.")
    parent = searches[0]
    of_search = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}' and tags.`dfkd.status` = 'complete'"
    trial = client.search_runs([experiment.experiment_id], of_search, order_by=newest, max_results=1)[0]
    version = client.get_model_version_by_alias(name, "champion").version
    return [
        Shot(name="runs", address=f"{where}/runs", texts=(str(parent.info.run_name),)),
        Shot(
            name="search",
            address=f"{where}/runs/{parent.info.run_id}",
            texts=("Chosen:", "How far the choice can be trusted"),
            scroll="Description",
        ),
        Shot(
            name="charts",
            address=f"{where}/runs/{trial.info.run_id}/model-metrics",
            texts=("distillation", "kd"),
        ),
        Shot(
            name="images",
            address=f"{where}/runs/{trial.info.run_id}/model-metrics",
            texts=(IMAGES,),
            scroll=IMAGES,
            has_slider=True,
        ),
        Shot(name="trial", address=f"{where}/runs/{trial.info.run_id}", texts=("distillation.learning_rate",)),
        Shot(name="model", address=f"/models/{name}", texts=("champion",)),
        Shot(name="version", address=f"/models/{name}/versions/{version}", texts=("privacy guarantee",)),
    ]


def take(shots: list[Shot], address: str, output: Path, *, chromium: str) -> list[str]:
    """Take the pictures; return what was missing or complained of, page by page."""
    problems: list[str] = []
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        for shot in shots:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            said, broken = _listen(page)
            page.goto(f"{address}/#{shot.address}{TRAINING_PAGES}", timeout=1000 * SECONDS)
            problems += _look_for(page, shot)
            if shot.has_slider:
                problems += _move_slider(page, shot)
            problems += [f"{shot.name}: the console says: {each.text[:300]}" for each in said if _is_complaint(each)]
            problems += [f"{shot.name}: the page broke: {each.message[:300]}" for each in broken]
            file = output / f"mlflow-{shot.name}.png"
            page.screenshot(path=file)
            Image.open(file).convert("RGB").quantize(COLOURS).save(file, optimize=True)  # a third of the size
            page.close()
        browser.close()
    return problems


def _listen(page: Page) -> tuple[list[ConsoleMessage], list[Error]]:
    """Return the lists that the page's console goes to, and errors that nothing in it catches."""
    said: list[ConsoleMessage] = []
    broken: list[Error] = []
    page.on("console", lambda message: said.append(message))
    page.on("pageerror", lambda error: broken.append(error))
    return said, broken


def _is_complaint(message: ConsoleMessage) -> bool:
    address = message.location.get("url", "")
    known = any(message.text.startswith(text) and address.endswith(end) for text, end in MLFLOWS_OWN_ERRORS)
    return message.type == "error" and not known


def _look_for(page: Page, shot: Shot) -> list[str]:
    missing = []
    for text in shot.texts:
        try:
            if shot.scroll is not None:
                _scroll_to(page, text)
            page.get_by_text(text).first.wait_for(state="visible", timeout=1000 * SECONDS)
        except Exception as error:  # a timeout of Playwright's own kind
            missing.append(f"{shot.name} ({shot.address}): does not show '{text}' ({type(error).__name__})")
    closing, whole = page.get_by_role("button", name="Close"), page.get_by_text("Show more", exact=True)
    for found in (closing, whole):  # MLflow's assistant covers a quarter of a new browser's page
        if found.count():
            found.first.click()
    if shot.scroll is not None and not missing:
        page.get_by_text(shot.scroll, exact=True).first.evaluate("element => element.scrollIntoView()")
    page.wait_for_timeout(2000)  # charts draw themselves
    return missing


def _scroll_to(page: Page, text: str) -> None:
    """Turn the wheel until the text is there: MLflow makes a section when it comes near the window."""
    page.get_by_text("Model metrics").first.wait_for(timeout=1000 * SECONDS)
    page.mouse.move(500, 500)
    for _ in range(60):
        if page.get_by_text(text).count():
            page.get_by_text(text).first.scroll_into_view_if_needed()
            return
        page.mouse.wheel(0, 300)
        page.wait_for_timeout(300)


def _move_slider(page: Page, shot: Shot) -> list[str]:
    """Move the slider of the pictures a step on; return a problem unless another picture is shown then."""
    slider, picture = page.get_by_role("slider").first, page.locator("img[src*='get-artifact']").first
    try:
        slider.wait_for(state="visible", timeout=1000 * SECONDS)
        picture.wait_for(state="visible", timeout=1000 * SECONDS)
        before = picture.get_attribute("src")
        slider.focus()
        page.keyboard.press("ArrowRight")  # MLflow puts it at the first step
        for _ in range(SECONDS):
            page.wait_for_timeout(1000)
            if picture.get_attribute("src", timeout=1000 * SECONDS) != before:
                return []
    except Error as error:
        return [f"{shot.name}: no slider with pictures ({str(error).splitlines()[0]})"]
    return [f"{shot.name}: the slider does not change the picture '{before}'"]


@contextmanager
def served(store: str) -> Iterator[str]:
    """Serve MLflow's UI of a store on loopback, and give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        store,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # seven processes that nobody needs
    silent = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=silent, stderr=silent, env=environment, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(2 * SECONDS):
            try:
                urllib.request.urlopen(address, timeout=1).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            raise SystemExit(f"{address}: MLflow did not answer within {SECONDS} s")
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


if __name__ == "__main__":
    main()
