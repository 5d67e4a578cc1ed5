"""The local server: through a real client, through a real browser, and with what it must refuse."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import hftransfer as ht
from hftransfer.base.errors import ModelError, RecipeError
from hftransfer.base.extras import require_extra
from hftransfer.data.pictures import IMAGES
from hftransfer.predictors.server import Limits, make_app, server_settings
from hftransfer.tasks.outcomes import Prediction
from tests.builders import browser, encoded, picture, write_tiny_writer
from tests.predictors.builders import call

pytest.importorskip("fastapi")
uvicorn: Any = pytest.importorskip("uvicorn")


class _Double:
    """Stands in for a model of images: it takes its time, and says how many bytes it saw."""

    reader = IMAGES
    facts = SimpleNamespace(pairs=None)
    class_names = ("<b>cat</b>", "dog")

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def predict_each(self, images: list[bytes]) -> list[Prediction]:
        time.sleep(self.seconds)
        if images[0] == b"bad":
            from hftransfer.base.errors import DataError

            raise DataError("image 0 must be an image; got something else")
        return [Prediction(str(len(images[0])), 1.0, {str(len(images[0])): 1.0})]


@contextmanager
def running(predictor: Any, limits: Limits | None = None) -> Iterator[int]:
    """The port of a server with a model."""
    server = uvicorn.Server(uvicorn.Config(make_app(predictor, "a model", limits), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def ask(
    port: int, body: bytes = b"", kind: str = "image/png", path: str = "/predict", method: str = "POST", **headers: str
) -> tuple[int, Any]:
    """The status and the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body if method == "POST" else None, {"Content-Type": kind, **named})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    is_json = "json" in (answer.getheader("Content-Type") or "")
    return answer.status, json.loads(content) if is_json else content.decode()


@pytest.fixture(scope="module")
def served(finished: Any) -> Iterator[tuple[str, Any]]:
    """The address of the command line's own server of a run on images."""
    folder = finished("resnet").folder
    command = [sys.executable, "-m", "hftransfer", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[0], ht.load(folder)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert "Traceback" not in errors


def test_a_client_gets_what_predict_gives(served: tuple[str, Any]) -> None:
    address, model = served
    port = int(address.rsplit(":", 1)[1])
    for color in ("red", "green", "blue"):
        image = encoded(picture(color, 9))
        status, found = ask(port, image)
        assert status == 200
        (expected,) = model.predict([image])
        assert found["label"] == expected.label == color
        assert found["scores"] == pytest.approx(expected.scores, abs=1e-6)
    assert ask(port, path="/about", method="GET")[1]["labels"] == ["blue", "green", "red"]
    assert ask(port, b"no image")[0] == 422
    assert ask(port, encoded(picture("red", 9)))[0] == 200


def test_a_browser_shows_the_answer(served: tuple[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    image = tmp_path / "photo.png"
    picture("green", 4).save(image)
    with browser() as driver:
        driver.get(served[0])
        WebDriverWait(driver, 20).until(lambda page: "3 labels" in page.find_element(By.ID, "about").text)
        driver.find_element(By.ID, "file").send_keys(str(image))
        WebDriverWait(driver, 20).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#answer h2"))
        assert driver.find_element(By.CSS_SELECTOR, "#answer h2").text.startswith("green")
        assert len(driver.find_elements(By.CSS_SELECTOR, "#answer .row")) == 3
        assert [entry for entry in driver.get_log("browser") if "favicon" not in entry["message"]] == []
        driver.save_screenshot(str(tmp_path / "page.png"))


def test_texts_are_sent_as_json(reviewed: Path) -> None:
    model = ht.load(reviewed)
    with running(model) as port:
        status, found = ask(port, json.dumps({"text": "the film was great"}).encode(), "application/json")
        assert status == 200
        assert found["scores"] == pytest.approx(model.predict("the film was great").scores, abs=1e-6)
        assert ask(port, b"the film", "text/plain")[0] == 415
        assert ask(port, b"{", "application/json")[0] == 400
        assert ask(port, b"[" * 100_000, "application/json")[0] == 400
        assert ask(port, b'{"text": 3}', "application/json") == (
            422,
            {"error": "The body must be an object with the texts text."},
        )
        pair = json.dumps({"text": "the film", "text_pair": "the story"}).encode()
        assert ask(port, pair, "application/json") == (
            422,
            {"error": "The body must have the texts text alone; got text_pair, too."},
        )
        assert ask(port, b'{"text": "\\ud800"}', "application/json")[0] == 200


def test_a_prompt_is_gone_on_with(tmp_path: Path) -> None:
    model = ht.load(write_tiny_writer("llama", tmp_path / "writer"))
    assert isinstance(model, ht.Predictor)
    with running(model) as port:
        assert ask(port, path="/about", method="GET")[1]["takes"] == "prompts"
        status, found = ask(port, json.dumps({"prompt": "hello"}).encode(), "application/json")
        (expected,) = model.predict(["hello"], max_new_tokens=128)
        assert (status, found["text"], found["tokens"]) == (200, expected.text, len(expected.tokens))
        assert ask(port, b'{"prompt": " "}', "application/json")[0] == 422


def test_a_browser_shows_what_is_written(tmp_path: Path) -> None:
    pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    with running(ht.load(write_tiny_writer("gpt2", tmp_path / "writer"))) as port, browser() as driver:
        driver.get(f"http://127.0.0.1:{port}")
        WebDriverWait(driver, 20).until(lambda page: page.find_element(By.ID, "first-label").text == "Prompt")
        driver.find_element(By.ID, "first").send_keys("hello")
        driver.find_element(By.ID, "go").click()
        WebDriverWait(driver, 20).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#answer .turn"))
        assert driver.find_element(By.CSS_SELECTOR, "#answer .turn p").text == "hello"
        assert "tokens" in driver.find_element(By.CSS_SELECTOR, "#answer .turn p:last-child").text


def test_a_dual_encoder_is_told_its_labels(tiny: Any) -> None:
    model = ht.load(tiny("clip-dual"))
    with running(model) as port:
        status, found = ask(port, encoded(picture("red", 1)), path="/predict?labels=film,%20story")
        assert status == 200
        assert list(found["scores"]) == ["film", "story"]
        status, found = ask(port, encoded(picture("red", 1)))
        assert status == 422
        assert "labels must be" in found["error"]


def test_what_is_too_large_or_of_another_kind_is_refused() -> None:
    with running(_Double(), Limits(most_bytes=1000)) as port:
        assert ask(port, b"x" * 1001)[0] == 413
        assert ask(port, b"x" * 1000)[1]["label"] == "1000"
        assert ask(port, b"x", "text/html")[0] == 415
        assert ask(port, b"")[0] == 400
        assert ask(port, b"bad") == (422, {"error": "image 0 must be an image; got something else"})
        assert ask(port, method="GET", path="/nowhere")[0] == 404
        assert ask(port, method="GET")[0] == 405
        # More than was said, in pieces.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/predict", iter([b"x" * 600, b"x" * 600]), {"Content-Type": "image/png"})
        assert connection.getresponse().status in (413, 500)
        connection.close()
        assert ask(port, b"y")[0] == 200


def test_other_sites_and_names_are_refused() -> None:
    with running(_Double()) as port:
        assert ask(port, b"x", Sec_Fetch_Site="cross-site")[0] == 403
        assert ask(port, b"x", Sec_Fetch_Site="same-origin")[0] == 200
        assert ask(port, b"x", Host="evil.example")[0] == 400
        page = ask(port, path="/", method="GET")[1]
        assert "<!doctype html>" in page
        assert "http://" not in page
        assert "https://" not in page


def test_what_takes_too_long_is_told_and_the_server_goes_on() -> None:
    limits = Limits(read_seconds=0.3, answer_seconds=0.3)
    with running(_Double(seconds=0.8), limits) as port:
        assert ask(port, b"x")[0] == 504
    with running(_Double(), limits) as port, socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(
            b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n"
        )
        assert b" 408 " in slow.recv(1000)
        assert ask(port, b"x")[0] == 200


def test_too_many_at_once_are_told_to_come_again() -> None:
    statuses: list[int] = []
    with running(_Double(seconds=0.5), Limits(most_waiting=2)) as port:
        threads = [threading.Thread(target=lambda: statuses.append(ask(port, b"x")[0])) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(set(statuses)) == [200, 503]
        assert ask(port, b"x")[0] == 200


def test_a_port_that_is_taken_is_told(finished: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RecipeError, match=r"--port must be free \(0 picks a free one\)"):
            ht.serve(finished("resnet").folder, port=port)


def test_a_notebook_serves_in_the_background(finished: Any) -> None:
    model = ht.load(finished("resnet").folder)
    with ht.serve(model, port=0, background=True) as server:
        assert ask(server.port, encoded(picture("red")))[0] == 200
        assert repr(server) == f"Server('http://127.0.0.1:{server.port}')"
    assert repr(server) == "Server(stopped)"
    with pytest.raises(OSError, match="refused"):
        ask(server.port, b"x")
    with pytest.raises(RecipeError, match=r"--precision must be auto, fp32 or bf16; got 'fp8'"):
        ht.serve(model, precision="fp8")  # type: ignore[call-overload]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hftransfer.base.extras.find_spec", lambda name: None if name == "uvicorn" else name)
    with pytest.raises(ModelError, match=r"no uvicorn.*pip install 'hftransfer\[serve\]'"):
        require_extra("serve", "hftransfer serve")
    assert call("serve", "x").exit_code == 2


# --- clients that are slow, gone, or of another site -----------------------------------------------------------------


@contextmanager
def served_as_the_command_does(predictor: Any, limits: Limits) -> Iterator[int]:
    """The port of a server with the protocol of the command."""
    server = uvicorn.Server(server_settings(make_app(predictor, "a model", limits), limits))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


_HALF = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nhalf"


def _opened(port: int, sent: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.sendall(sent)
    return client


def test_half_sent_bodies_hold_up_nobody() -> None:
    with served_as_the_command_does(_Double(), Limits(read_seconds=1.0)) as port:
        slow = [_opened(port, _HALF) for _ in range(12)]
        assert ask(port, b"12345")[0] == 200
        assert b" 408 " in slow[0].recv(100)
        for client in slow:
            client.close()


@pytest.mark.parametrize("sent", [b"", b"POST /predict HTTP/1.1\r\nHost: 127"])
def test_headers_that_do_not_end_in_time_are_waited_for_no_longer(sent: bytes) -> None:
    with served_as_the_command_does(_Double(), Limits(header_seconds=0.3)) as port:
        with _opened(port, sent) as slow:
            assert slow.recv(100) == b""
        with _opened(port, b"GET /about HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as kept:
            assert b"200 OK" in kept.recv(100)
            kept.sendall(b"GET /about HT")
            began = time.monotonic()
            while kept.recv(1000):
                pass
            assert time.monotonic() - began < 3
        assert ask(port, b"12345")[0] == 200


def test_a_slow_answer_is_no_late_header() -> None:
    with served_as_the_command_does(_Double(0.6), Limits(header_seconds=0.2)) as port:
        assert ask(port, b"12345")[0] == 200


def test_a_client_that_goes_away_leaves_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with served_as_the_command_does(_Double(), Limits()) as port:
        _opened(port, _HALF).close()
        time.sleep(0.3)
        assert ask(port, b"12345")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_inputs_in_work_are_counted_though_nobody_waits_for_them() -> None:
    with served_as_the_command_does(_Double(1.0), Limits(answer_seconds=0.1, most_waiting=1)) as port:
        assert ask(port, b"12345")[0] == 504
        assert ask(port, b"12345")[0] == 503
        time.sleep(1.2)
        assert ask(port, b"12345")[0] == 504


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "same-site"}]
)
def test_pages_of_other_sites_are_refused_and_told_what_browsers_may_do(headers: dict[str, str]) -> None:
    with served_as_the_command_does(_Double(), Limits()) as port:
        for method, path in (("POST", "/predict"), ("GET", "/about"), ("GET", "/")):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(
                method, path, b"12345" if method == "POST" else None, {"Content-Type": "image/png", **named}
            )
            answer = connection.getresponse()
            assert answer.status == 403
            assert answer.getheader("X-Content-Type-Options") == "nosniff"
            assert "default-src 'none'" in (answer.getheader("Content-Security-Policy") or "")
            connection.close()
        assert ask(port, b"12345", Origin=f"http://127.0.0.1:{port}")[0] == 200


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_an_error(score: float) -> None:
    class Broken(_Double):
        def predict_each(self, images: list[bytes]) -> list[Prediction]:
            return [Prediction("cat", score, {"cat": score})]

    with served_as_the_command_does(Broken(), Limits()) as port:
        status, told = ask(port, b"12345")
        assert (status, told) == (500, {"error": "The model's scores must be finite numbers; got NaN or infinity."})
