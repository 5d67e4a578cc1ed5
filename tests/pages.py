"""Looking at pages in a real browser: what a person with a phone, a dark screen or a screen reader would trip over."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

AXE = "axe-core@4.14.1"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
MOST_BYTES = 3 << 20
LEAST_PX = 11
WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")

# Text is as large as it is seen: that of a drawing is scaled with it.
_SMALL_TEXT = """
const small = new Set(), unseen = ["SCRIPT", "STYLE", "TITLE", "DESC"];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, parent = node.parentElement, text = node.textContent.trim();
  if (!text || unseen.includes(parent.tagName.toUpperCase()) || !parent.checkVisibility()) continue;
  const matrix = parent.getScreenCTM ? parent.getScreenCTM() : null;
  const scale = matrix ? Math.hypot(matrix.b, matrix.d) : 1;
  const px = parseFloat(getComputedStyle(parent).fontSize) * scale;
  if (px < arguments[0] - 0.01) small.add(px.toFixed(1) + " px: " + text.slice(0, 40));
}
return [...small];
"""
_WIDE = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
# What is drawn lies within its drawing, and a table that is wider than its box says so.
_CUT = """
const found = [];
for (const drawing of document.querySelectorAll(".chart svg[role=img]")) {
  const box = drawing.getBoundingClientRect();
  for (const part of drawing.querySelectorAll("text, line, circle, polyline, polygon, rect")) {
    const own = part.getBoundingClientRect();
    if (own.left < box.left - 1 || own.right > box.right + 1 || own.top < box.top - 1 || own.bottom > box.bottom + 1)
      found.push(drawing.getAttribute("aria-label") + ": " + part.outerHTML.slice(0, 80));
  }
}
for (const table of document.querySelectorAll("table")) {
  const box = table.closest(".wide") || table.parentElement;
  const scrolls = table.scrollWidth > box.clientWidth + 1;
  if (scrolls && !box.classList.contains("scrolls")) found.push("table: " + table.textContent.trim().slice(0, 40));
}
return found;
"""
_ASKED = """
const names = performance.getEntriesByType("resource").map(one => one.name);
return names.filter(name => !/^(data|blob):/.test(name));
"""
_AXE = """
const done = arguments[arguments.length - 1];
const told = node => node.html.slice(0, 200) + " " + (node.any[0] || {message: ""}).message;
const where = one => one.nodes.slice(0, 2).map(told).join(" and ") + " (" + one.nodes.length + ")";
const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
axe.run(document, {runOnly: tags, resultTypes: ["violations"]})
  .then(found => done(found.violations.map(one => one.id + ": " + one.help + ", as in " + where(one))))
  .catch(error => done([String(error)]));
"""


# What is hidden without JavaScript is hidden for good, but for what opens or changes without it, and for a bar of
# buttons that only JavaScript fills.
_HIDDEN = """
const hidden = new Set(), left = ".filter, .has-map .photo, details:not([open]), script, style, title, desc";
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const parent = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
  if (text && !parent.closest(left) && !parent.checkVisibility({opacityProperty: true, visibilityProperty: true}))
    hidden.add("text: " + text.slice(0, 40));
}
for (const image of document.images)
  if (!image.closest(left) && !(image.checkVisibility() && image.naturalWidth && image.width > 20))
    hidden.add("picture: " + image.alt.slice(0, 40));
return [...hidden];
"""


def axe_source(folder: Path) -> str:
    """The source of axe-core, installed by npm into a folder once; the test is skipped where it can't be."""
    file = folder / "node_modules/axe-core/axe.min.js"
    if not file.exists():
        if not shutil.which("node") or not shutil.which("npm"):
            pytest.skip("no node and npm here")
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), AXE]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm does not answer: {AXE} is not here")
        if done.returncode or not file.exists():
            pytest.skip(f"npm can't install {AXE}: {done.stderr.strip()[:200]}")
    source = file.read_bytes()
    assert hashlib.sha256(source).hexdigest() == AXE_SHA256
    return source.decode()


def faults_of_page(driver: Any, address: str, axe: str) -> list[str]:
    """Whatever is wrong with a page at any width and in any scheme, each with where it was seen."""
    found = [fault for width in WIDTHS for scheme in SCHEMES for fault in _seen(driver, address, axe, width, scheme)]
    # A page that a model is served by asks it, which takes a script.
    return found + list(_seen_without_scripts(driver, address)) if address.startswith("file:") else found


def _seen(driver: Any, address: str, axe: str, width: int, scheme: str) -> Iterator[str]:
    from selenium.webdriver.support.ui import WebDriverWait

    show(driver, width, scheme)
    driver.get_log("browser")
    driver.get(address)
    WebDriverWait(driver, 30).until(lambda page: page.execute_script("return document.readyState === 'complete'"))
    found = [f"small text, {told}" for told in driver.execute_script(_SMALL_TEXT, LEAST_PX)]
    if (wide := driver.execute_script(_WIDE)) > 0:
        found.append(f"{wide} px too wide")
    found += [f"cut: {told}" for told in driver.execute_script(_CUT)]
    if address.startswith("file:"):
        found += [f"asks for {name}" for name in driver.execute_script(_ASKED)]
    found += [f"console: {entry['message']}" for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    driver.execute_script(axe)
    found += driver.execute_async_script(_AXE)
    yield from (f"{width} px, {scheme}: {fault}" for fault in found)


def _seen_without_scripts(driver: Any, address: str) -> Iterator[str]:
    """Whatever can't be read where scripts are switched off."""
    for width in WIDTHS:
        show(driver, width, "light")
        # On a busy machine the browser sometimes switches them off too late.
        if not any(_opened_without_scripts(driver, address) for _ in range(5)):
            yield f"{width} px, without JavaScript: scripts ran"
            continue
        found = [f"hidden {told}" for told in driver.execute_script(_HIDDEN)]
        if (wide := driver.execute_script(_WIDE)) > 0:
            found.append(f"{wide} px too wide")
        yield from (f"{width} px, without JavaScript: {fault}" for fault in found)


def _opened_without_scripts(driver: Any, address: str) -> bool:
    """Open a page with scripts switched off, and return whether its own were passed over."""
    driver.get("about:blank")
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    driver.get(address)
    # Ours may look at what is left.
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    return not driver.execute_script("return document.querySelectorAll('.zoom, th > button').length")


def show(driver: Any, width: int, scheme: str) -> None:
    """Let the browser be as wide as a phone or a screen, and light or dark."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
