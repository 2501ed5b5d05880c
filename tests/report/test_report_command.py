"""`numatune report`: what it takes, what it refuses in one line, and that its file is there whole or not at all."""

from __future__ import annotations

import builtins
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from report.made_report import HOSTILE, faulty, watch

from numatune.bench.packages import optional
from numatune.cli import main

pytest.importorskip("plotly")


def save(folder: Path, name: str, made: Any) -> str:
    path = folder / name
    path.write_text(made if isinstance(made, str) else json.dumps(made))
    return str(path)


def test_a_run_becomes_one_file_with_its_library_inside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.html"
    run = save(tmp_path, "a.json", faulty())
    assert main(["report", run, "-o", str(out)]) == 0
    first = out.read_bytes()
    assert capsys.readouterr() == (f"{out}: 1 run; open it in a browser\n", "")
    assert b"plotly.js v" in first
    assert first.rstrip().endswith(b"</html>")
    assert len(first) < 8_000_000
    assert main(["report", run, "-o", str(out)]) == 0
    assert out.read_bytes() == first


def test_sides_runs_and_watches_go_into_one_report(tmp_path: Path) -> None:
    out, before, after = (
        tmp_path / "r.html",
        save(tmp_path, "b.json", faulty(seed=1)),
        save(tmp_path, "a.json", faulty()),
    )
    audit = save(tmp_path, "audit.json", {"hosts": [{"name": "h1", "findings": [{"setting": "numa_balancing"}]}]})
    words = ["report", save(tmp_path, "w.json", watch()), "--before", before, "--after", after, "--audit", audit]
    assert main([*words, "--max-spikes-per-1000", "4", "-o", str(out)]) == 0
    text = out.read_text("utf-8")
    assert "report of 3 runs" in text
    assert "the limit is 4" in text
    assert "h1: Some CPU" in text


def test_an_invalid_run_is_reported_and_ends_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = save(tmp_path, "a.json", faulty(events=[{"event": "steal", "detail": "4 %"}]))
    assert main(["report", run, "-o", str(tmp_path / "r.html")]) == 3
    assert "a.json is invalid for a verdict" in capsys.readouterr().err
    assert "does not count for a verdict" in (tmp_path / "r.html").read_text("utf-8")


REFUSED = [
    ([], "no run given"),
    (["--before", "a.json"], "go together"),
    (["a.json", "--max-spikes-per-1000", "0"], "above 0"),
    (["missing.json"], "cannot read missing.json"),
    (["cut.json"], "cut short"),
    (["bytes.json"], "not text"),
    (["other.json"], "is no run: its schema is"),
    (["list.json"], "no benchmark result|is not a benchmark result"),
    (["watch.json"], "damaged"),
    (["a.json", "--audit", "a.json"], "a.json: it holds no findings"),
    (["a.json", "--audit", "cut.json"], "cut short"),
    (["own.json"], "own.json: its audit"),
    (["--before", "a.json", "--after", "a.json"], "same launch"),
    (["--before", "a.json", "--after", "watch.json"], "is a watch: `numatune compare` takes"),
    (["--before", "injected.json", "--after", "a.json"], "injected"),
]


@pytest.mark.parametrize(("words", "complaint"), REFUSED)
def test_what_it_refuses_is_one_line_and_leaves_nothing(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path, "a.json", faulty(200))
    save(tmp_path, "cut.json", json.dumps(faulty(50))[:-20])
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    save(tmp_path, "other.json", {"schema": "x"})
    save(tmp_path, "list.json", [1])
    save(tmp_path, "watch.json", {"schema": "numatune/watch/1"})
    save(tmp_path, "own.json", {**faulty(60), "audit": 3})
    injected = faulty(200, seed=2)
    injected["environment"]["injection"] = {"kind": "hog"}
    save(tmp_path, "injected.json", injected)
    assert main(["report", *words, "-o", "r.html"]) == 2
    said = capsys.readouterr().err
    assert re.search(complaint, said)
    assert said.count("\n") == 1
    assert not (tmp_path / "r.html").exists()


def test_what_was_there_stays_when_the_report_cannot_be_made(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    out.write_text("old")
    assert main(["report", str(tmp_path / "none.json"), "-o", str(out)]) == 2
    assert out.read_text() == "old"
    run = save(tmp_path, "a.json", faulty(60))
    assert main(["report", run, "-o", str(tmp_path / "no folder" / "r.html")]) == 2
    assert main(["report", run, "-o", str(tmp_path)]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "r.html"]


@pytest.mark.parametrize("missing", ["plotly", "scipy"])
def test_without_a_package_of_the_extra_it_says_which_to_install(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = [name for name in sys.modules if name.startswith(("numatune.report.html", "numatune.verdict"))]
    for name in [*ours, *(name for name in sys.modules if name.split(".")[0] == missing)]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.split(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    code = main(["report", save(tmp_path, "a.json", faulty(60)), "-o", str(tmp_path / "r.html")])
    said = capsys.readouterr().err
    assert code == 2
    assert missing in said
    assert f"{missing} is not installed: a report needs it; run `{optional.how_to_install()}`" in said
    assert not (tmp_path / "r.html").exists()


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


NEEDS_BROWSER = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: what the page does is not checked")


def browsed(page: Path) -> subprocess.CompletedProcess[str]:
    words = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    words += " --disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=20000 --dump-dom"
    folder = f"--user-data-dir={page.parent / 'profile'}"
    command = [str(BROWSER), *words.split(), folder, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@NEEDS_BROWSER
def test_a_browser_draws_every_figure_without_a_request_or_a_complaint(tmp_path: Path) -> None:
    made = faulty()
    made["environment"]["cpu_model"] = HOSTILE
    out = tmp_path / "r.html"
    assert main(["report", save(tmp_path, "a.json", made), "-o", str(out)]) == 0
    done = browsed(out)
    assert done.stdout.count("js-plotly-plot") >= 3
    assert done.stdout.count('class="main-svg"') >= 3
    # The policy of the page blocks every request, and the browser says on its console what it blocked.
    assert "CONSOLE" not in done.stderr


_PRESS = """<script>
addEventListener("load", () => setTimeout(() => {
  const place = document.querySelector("[data-figure$=timeline]");
  const button = Array.from(document.querySelectorAll("button")).find((one) => /Logarithmic/.test(one.textContent));
  const said = [place.layout.yaxis.type, button.getAttribute("aria-pressed")];
  button.click();
  setTimeout(() => {
    said.push(place.layout.yaxis.type, button.getAttribute("aria-pressed"));
    document.body.dataset.said = said.join(" ");
  }, 1000);
}, 5000));
</script>"""


@NEEDS_BROWSER
def test_a_press_makes_the_axis_of_the_latency_logarithmic(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    assert main(["report", save(tmp_path, "a.json", faulty()), "-o", str(out)]) == 0
    out.write_text(out.read_text().replace("</body>", f"{_PRESS}</body>"))
    assert 'data-said="linear false log true"' in browsed(out).stdout
