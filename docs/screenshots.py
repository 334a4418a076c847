"""Redraws docs/images from a demo of its own: `make screenshots`. Needs Chromium; touches no other copy."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).resolve().parent / "images"
START_WAIT_S = 120
STOP_WAIT_S = 60
SIZE = {"width": 1280, "height": 800}
PAGES = {"companies": "/empresas", "company": "/empresas/1"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def demo_copy(folder: str) -> Iterator[tuple[str, str]]:
    """Run a demo on a free port; yield its address and a panel token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"SECRETARIA_DATA_DIR": folder, "PORT": str(port), "PUBLIC_URL": ""}
    environment = {**os.environ, **own}
    secretaria = [sys.executable, "-m", "secretaria"]
    with (Path(folder) / "up.log").open("w") as log:
        up = subprocess.Popen([*secretaria, "up", "--demo"], env=environment, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url, up)
            create = [*secretaria, "panel-token", "create", "demo@localhost"]
            made = subprocess.run(create, env=environment, check=True, capture_output=True, text=True)
            yield url, made.stdout.strip()
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(STOP_WAIT_S)


def wait_until_ready(url: str, up: "subprocess.Popen[bytes]") -> None:
    """Wait until the copy serves; raises SystemExit when it ends or takes too long."""
    deadline = time.monotonic() + START_WAIT_S
    while time.monotonic() < deadline and up.poll() is None:
        try:
            with urlopen(f"{url}/readyz", timeout=5) as answer:  # noqa: S310 - our own http address
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.2)
    raise SystemExit("the demo did not start")


def draw(url: str, token: str) -> None:
    """Take the pictures, in the panel's first language."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport=SIZE, locale="pt-BR", color_scheme="light")  # type: ignore[arg-type]
        context.add_cookies([{"name": "panel_token", "value": token, "url": url}])
        page = context.new_page()
        for name, path in PAGES.items():
            page.goto(url + path, wait_until="domcontentloaded")
            page.wait_for_timeout(1_500)  # let the live figures arrive, so that the picture shows a page in use
            page.screenshot(path=IMAGES / f"{name}.png")
            print(f"docs/images/{name}.png")
        browser.close()


def main() -> None:
    """Start a demo, take the pictures, stop it."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="secretaria-images-") as folder:
        Path(folder).chmod(0o711)
        with demo_copy(folder) as (url, token):
            draw(url, token)


if __name__ == "__main__":
    main()
