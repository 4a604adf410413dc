"""The requests of the page: who may make them, what they answer, and what is on the disk afterwards."""

import base64
import os
import re
import signal
import sys
import urllib.request
from pathlib import Path

import pytest

from stable_structures.__main__ import main
from stable_structures.deployment import Deployment
from stable_structures.errors import Locked, SourceError
from stable_structures.serve.session import LONGEST_ANSWER, Session

from ..support import command

pytest.importorskip("wasmtime")
testclient = pytest.importorskip("starlette.testclient")

BUILT = Path(__file__).parents[1] / "canister" / "wasm"
TOKEN = "a-token-of-the-test"  # noqa: S105 - no secret
HOST = "127.0.0.1:7777"

HOSTILE = """
from stable_structures.canister import Actor, ic, query, stable, update
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\\u202e\\u0000"
class Evil(Actor):
    n = stable(0)
    @query
    def evil(self):
        return EVIL
    @query
    def huge(self):
        return "x" * 3_000_000
    @update
    def trap(self):
        self.n += 1
        raise ValueError(EVIL)
    @update
    def log(self, text: str):
        ic.debug_print(text)
"""


class Page:
    """A page of the server, without a browser."""

    def __init__(self, session):
        from stable_structures.serve.app import make_app  # noqa: PLC0415 - starlette is an extra

        self.client = testclient.TestClient(make_app(session, TOKEN, (HOST,)), base_url=f"http://{HOST}", raise_server_exceptions=False)
        self.headers = {"Authorization": f"Bearer {TOKEN}"}

    def post(self, name, /, **body):
        return self.client.post(f"/api/{name}", json=body, headers=self.headers)

    def call(self, method, *args, **more):
        return self.post("call", method=method, args=list(args), **more).json()

    def state(self):
        return self.client.get("/api/state", headers=self.headers).json()

    def upload(self, path):
        return self.post("module", name=path.name, data=base64.b64encode(path.read_bytes()).decode())


def served(folder, source, arg=None, **more):
    Deployment(folder).deploy(source, arg)
    return Page(Session(folder, **more))


@pytest.fixture
def page(tmp_path):
    return served(tmp_path / "c", BUILT / "counter1_eop.wasm")


@pytest.fixture
def ledger(tmp_path):
    return served(tmp_path / "ledger", BUILT / "ledger.wasm.gz", (7,))


# ---- messages ----


def test_each_message_is_in_the_folder(page, tmp_path):
    assert [page.call("inc")["text"] for _ in range(3)] == ["(1 : nat)", "(2 : nat)", "(3 : nat)"]
    with Deployment(tmp_path / "c").read() as canister:
        assert canister.query("get") == 3
    with Deployment(tmp_path / "c").write() as canister:  # and the shell may change it meanwhile
        canister.call("inc")
    found = page.call("get", query=True)
    assert (found["kind"], found["text"], found["query"]) == ("answer", "(4 : nat)", True)
    assert found["instructions"] > 0
    assert found["arguments"] == "()"


def test_the_tutorial_with_its_upgrade(page):
    for _ in range(3):
        page.call("inc")
    page.post("status", action="stop")
    assert page.call("inc")["code"] == "IC0508"
    module = page.upload(BUILT / "counter2_eop.wasm").json()
    rehearsal = page.post("rehearse", hash=module["hash"], calls="inc()\nget()").json()
    assert (rehearsal["ok"], rehearsal["failure"], rehearsal["candid"]) == (True, None, [])
    assert [one["answer"] for one in rehearsal["calls"]] == ["(6 : nat)", "(6 : nat)"]
    assert page.state()["version"] == 6  # nothing happened yet
    upgraded = page.post("upgrade", hash=module["hash"], revision=rehearsal["revision"]).json()
    assert upgraded["kind"] == "answer"
    assert page.post("status", action="start").json()["state"]["status"] == "running"
    assert [page.call("inc")["text"] for _ in range(2)] == ["(6 : nat)", "(9 : nat)"]


def test_an_upgrade_that_fails_says_which_hook(tmp_path):
    page = served(tmp_path / "hooks", BUILT / "hooks.wasm.gz")
    page.call("break_hook", True)
    module = page.upload(BUILT / "hooks.wasm.gz").json()
    found = page.post("rehearse", hash=module["hash"]).json()
    assert found["failure"].startswith("pre_upgrade")
    assert not found["ok"]
    refused = page.post("upgrade", hash=module["hash"], revision=found["revision"]).json()
    assert refused["kind"] == "trap"
    assert page.post("rehearse", hash=module["hash"], skipPreUpgrade=True).json()["failure"].startswith("post_upgrade")  # nothing was saved


def test_only_what_was_rehearsed_is_installed(page):
    module = page.upload(BUILT / "counter2_eop.wasm").json()
    found = page.post("rehearse", hash=module["hash"]).json()
    page.call("inc")
    late = page.post("upgrade", hash=module["hash"], revision=found["revision"])
    assert (late.status_code, "changed since" in late.json()["error"]) == (409, True)
    assert page.call("inc")["text"] == "(2 : nat)"
    assert page.post("upgrade", hash="0", revision="").status_code == 409


def test_a_trap_shows_its_message_and_changes_nothing(ledger):
    ledger.call("deposit", "ada", "100")
    found = ledger.call("transfer", "ada", "bob", "1000")
    assert (found["kind"], found["code"]) == ("trap", "IC0503")
    assert "not enough money" in found["message"]
    assert any("[TRAP]" in line for line in found["state"]["logs"])
    assert ledger.call("accounts", query=True)["text"] == '(vec { record { "ada"; 100 : nat64 } })'
    assert ledger.call("deposit", "ada", "1", query=True)["code"] == "IC0536"


def test_a_wrong_value_says_where_and_is_not_sent(ledger):
    before = ledger.state()["revision"]
    found = ledger.call("deposit", "ada", "-5")
    assert (found["kind"], found["path"]) == ("invalid", [1])
    assert ledger.state()["revision"] == before


def test_the_map_shows_what_the_last_message_changed(ledger):
    ledger.call("deposit", "ada", "100")
    ledger.post("map")
    ledger.call("deposit", "bob", "5")
    found = ledger.post("map").json()
    assert found["scene"]["memories"][0]["kind"] == "map"
    assert 0 < found["changes"]["bytes"] < 64
    assert all(65536 <= begin < end for begin, end in found["changes"]["runs"])
    assert ledger.post("map").json()["changes"] == found["changes"]  # for every page that asks
    ledger.call("accounts", query=True)
    assert ledger.post("map").json()["revision"] == found["revision"]


def test_the_changes_are_those_of_the_last_message_alone(ledger):
    ledger.call("deposit", "ada", "100")
    ledger.call("deposit", "ada", "1")
    assert ledger.post("map").json()["changes"]["bytes"] == 1  # 100 became 101
    ledger.call("transfer", "ada", "bob", "1000")  # traps
    assert ledger.post("map").json()["changes"]["runs"] == []


def test_a_map_that_is_slow_or_large_is_drawn_if_asked_for(ledger, monkeypatch):
    monkeypatch.setattr("stable_structures.serve.session.SLOWEST_MAP", 0)
    assert ledger.post("map").json()["scene"] is not None
    slow = ledger.post("map").json()
    assert (slow["scene"], slow["nbytes"] > 0) == (None, True)
    assert ledger.post("map", large=True).json()["scene"] is not None
    monkeypatch.setattr("stable_structures.serve.session.SLOWEST_MAP", 60)
    monkeypatch.setattr("stable_structures.serve.session.LARGEST_MAP", 1000)
    assert ledger.post("map").json()["scene"] is None


def test_a_canister_without_stable_memory_has_no_map(tmp_path):
    page = served(tmp_path / "s", BUILT / "edges.wasm")
    found = page.post("map").json()
    assert (found["nbytes"], found["scene"]) == (0, None)
    assert page.client.get(f"/picture?token={TOKEN}").status_code == 400


def test_the_whole_picture_runs_under_the_policy(ledger):
    answer = ledger.client.get(f"/picture?token={TOKEN}")
    nonce = re.search(r"script-src 'nonce-([^']+)'", answer.headers["content-security-policy"])[1]
    assert answer.text.count(f'<script nonce="{nonce}">') == answer.text.count(f'<style nonce="{nonce}">') == 1
    assert "<script>" not in answer.text


def test_methods_of_a_python_canister_have_forms(tmp_path):
    (tmp_path / "evil.py").write_text(HOSTILE)
    page = served(tmp_path / "c", tmp_path / "evil.py")
    methods = {one["name"]: one for one in page.state()["methods"]}
    assert methods["log"]["arguments"][0] == {"name": "text", "type": {"kind": "text", "text": "text"}, "required": True}
    assert page.call("log", "hello")["logs"] == ["hello"]
    trap = page.call("trap")
    assert (trap["kind"], trap["instructions"]) == ("trap", None)
    module = page.upload(tmp_path / "evil.py").json()
    assert page.post("rehearse", hash=module["hash"]).json()["ok"]


def test_basilisk_in_a_folder(tmp_path):
    source = """
from basilisk import nat, query, StableBTreeMap, update
counter = StableBTreeMap[str, nat](memory_id=0)
@update
def inc(by: nat) -> nat:
    counter.insert("n", (counter.get("n") or 0) + by)
    return counter.get("n")
"""
    (tmp_path / "one.py").write_text(source)
    page = served(tmp_path / "c", tmp_path / "one.py")
    assert page.state()["methods"][0]["arguments"][0]["type"]["kind"] == "nat"
    assert [page.call("inc", "5")["text"] for _ in range(2)] == ["(5 : nat)", "(10 : nat)"]


def test_an_interface_may_be_given(tmp_path):
    Deployment(tmp_path / "w").deploy(BUILT / "wide.wasm")
    raw = Page(Session(tmp_path / "w")).state()["methods"]
    assert {one["arguments"][0]["type"]["kind"] for one in raw} == {"opt"}
    page = Page(Session(tmp_path / "w", did="service : { echo : (nat8) -> (nat8) query }"))
    assert [one["name"] for one in page.state()["methods"]] == ["echo"]


def test_caller_and_cycles_are_those_of_the_page(tmp_path):
    page = served(tmp_path / "c", BUILT / "caller.wasm.gz")
    found = page.call("take", cycles="1_000")
    assert (found["text"], found["cycles"]) == ("(500 : nat)", "500")  # it takes half
    assert "aaaaa-aa" in page.call("facts_update", caller="aaaaa-aa")["text"]
    assert page.call("take", cycles="x").get("error", "").startswith("expected cycles")
    assert "error" in page.call("take", caller="nobody") or page.call("take", caller="nobody")["kind"] == "error"


# ---- hostile canisters ----


def test_what_a_canister_says_is_never_part_of_the_page(tmp_path):
    (tmp_path / "evil.py").write_text(HOSTILE)
    folder = tmp_path / "<script>alert(2)<"
    page = served(folder, tmp_path / "evil.py")
    text = page.client.get(f"/?token={TOKEN}").text
    assert "alert(" not in text
    assert text.count("</script>") == text.count("<script") == 1
    assert page.state()["name"] == folder.name
    found = page.client.post("/api/call", json={"method": "evil", "args": [], "query": True}, headers=page.headers)
    assert found.headers["content-type"] == "application/json"
    assert found.headers["x-content-type-options"] == "nosniff"
    assert "\\u{202e}" in found.json()["text"]


def test_a_huge_answer_is_cut_and_says_so(tmp_path):
    (tmp_path / "evil.py").write_text(HOSTILE)
    page = served(tmp_path / "c", tmp_path / "evil.py")
    found = page.call("huge", query=True)
    assert len(found["text"]) == LONGEST_ANSWER
    assert found["length"] == 3_000_004


# ---- who may ask ----


def test_the_token_is_needed_everywhere(page):
    for path in ("/", "/picture", "/api/state", "/api/revision", "/nothing"):
        for address in (path, f"{path}?token=", f"{path}?token={TOKEN}x", f"{path}?token=%ff"):
            assert page.client.get(address).status_code == 403, address
    assert page.client.get(f"/api/state?token={TOKEN}").status_code == 403  # the header alone counts there
    for given in ("", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", "Bearer ü".encode()):
        assert page.client.get("/api/state", headers={"Authorization": given}).status_code == 403
    for name in ("call", "status", "module", "rehearse", "upgrade", "map"):
        assert page.client.post(f"/api/{name}", json={}).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7777", "127.0.0.1", "127.0.0.1:7778", "localhost:7777.evil.example", ""])
def test_another_name_for_this_address_is_refused(page, host):
    assert page.client.get(f"/?token={TOKEN}", headers={"Host": host}).status_code == 421
    assert page.client.get("/api/state", headers={**page.headers, "Host": host}).status_code == 421


def test_other_pages_are_refused_and_get_no_cors(page):
    for origin in ("http://evil.example", "null", f"https://{HOST}"):
        found = page.client.post("/api/call", json={"method": "inc", "args": []}, headers={**page.headers, "Origin": origin})
        assert found.status_code == 403
    assert page.client.post(
        "/api/call", json={"method": "inc", "args": []}, headers={**page.headers, "Origin": f"http://{HOST}"}
    ).is_success
    preflight = page.client.options("/api/call", headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        found = page.client.post("/api/call", content=b'{"method": "inc", "args": []}', headers={**page.headers, "Content-Type": kind})
        assert found.status_code == 415
    assert page.call("get", query=True)["text"] == "(1 : nat)"
    assert page.client.get("/api/call", headers=page.headers).status_code == 405


def test_every_answer_has_the_headers(page):
    for answer in (page.client.get("/"), page.client.get(f"/?token={TOKEN}"), page.post("map"), page.post("call"), page.client.put("/")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    first, second = (page.client.get(f"/?token={TOKEN}") for _ in range(2))
    assert "unsafe" not in first.headers["content-security-policy"]
    assert first.headers["content-security-policy"] != second.headers["content-security-policy"]
    assert not re.search(
        r"""(src|href)\s*=\s*["']?(https?:)?//|url\(|@import|\son\w+=|innerHTML|insertAdjacent|eval\(""",
        first.text.replace("xmlns='http://www.w3.org/2000/svg'", ""),
    )


def test_malformed_requests_are_answered(page):
    for body in (b"", b"[", b"[]", b"1", b"\xff", b"[" * 100_000):
        found = page.client.post("/api/call", content=body, headers={**page.headers, "Content-Type": "application/json"})
        assert (found.status_code, "error" in found.json()) == (400, True)
    bad = [{}, {"method": 1}, {"method": "none"}, {"method": "inc", "cycles": "-1"}, {"method": "inc", "caller": 5}]
    assert all(page.post("call", **body).status_code == 400 for body in bad)
    assert page.call("inc", "1")["kind"] == "invalid"
    assert page.post("status", action="burn").status_code == 400
    for data in ("!", "\u00e9", "\u0663"):
        assert page.post("module", name="x.wasm", data=data).status_code == 400
    kind = {**page.headers, "Content-Type": "application/json"}
    for length in ("1" * 5000, "-1", "1_0"):
        assert page.client.post("/api/call", content=b"{}", headers={**kind, "Content-Length": length}).status_code == 413
    for name, data in (("x.wasm", b"\0asm"), ("x.txt", b"text"), ("x.py", b"\xff"), ("x.wasm.gz", b"\x1f\x8b")):
        assert page.post("module", name=name, data=base64.b64encode(data).decode()).status_code == 400, name
    assert page.call("inc")["text"] == "(1 : nat)"


def test_requests_have_a_largest_size(page, monkeypatch):
    too_long = page.client.post("/api/call", content=b" " * (5 << 20), headers={**page.headers, "Content-Type": "application/json"})
    assert too_long.status_code == 413

    def pieces():
        yield from (b" " * (1 << 20) for _ in range(6))

    streamed = page.client.post("/api/call", content=pieces(), headers={**page.headers, "Content-Type": "application/json"})
    assert streamed.status_code == 413
    monkeypatch.setattr("stable_structures.serve.session.LARGEST_MODULE", 1000)
    assert "more than a module" in page.upload(BUILT / "counter2_eop.wasm").json()["error"]


# ---- other commands ----


HOLD = """
import sys
from stable_structures.deployment import Deployment
with Deployment(sys.argv[1]).write():
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_command_that_waits_in_vain_says_for_whom(tmp_path):
    folder = tmp_path / "c"
    Deployment(folder).deploy(BUILT / "counter1_eop.wasm")
    reader, writer = os.pipe()
    with command.Process([folder], code=HOLD, stdin=reader) as other:
        os.close(reader)
        try:
            assert other.line() == "ready"
            with pytest.raises(Locked, match=f"process {other.pid} is changing"), Deployment(folder, patience=0.1).write():
                pass
        finally:
            os.close(writer)
    with Deployment(folder, patience=0.1).write() as canister:
        assert canister.call("inc") == 1


def test_the_command_prints_an_address_that_answers(tmp_path):
    Deployment(tmp_path / "c").deploy(BUILT / "counter1_eop.wasm")
    with command.Process(["canister", "serve", tmp_path / "c"]) as process:
        try:
            address = re.search(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}$", process.line())[0]
            with urllib.request.urlopen(address) as answer:  # noqa: S310 - our own
                assert b"<h1" in answer.read()
            port = re.search(r":(\d+)/", address)[1]
            assert main(["canister", "serve", str(tmp_path / "c"), "--port", port]) == 2
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(20)


def test_what_cannot_be_served_says_so(tmp_path, capsys, monkeypatch):
    assert main(["canister", "serve", str(tmp_path / "none")]) == 2
    assert "canister deploy" in capsys.readouterr().err
    Deployment(tmp_path / "c").deploy(BUILT / "start.wasm")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["canister", "serve", str(tmp_path / "c")]) == 2
    assert "stable-structures[serve]" in capsys.readouterr().err


def test_a_session_needs_a_canister(tmp_path):
    with pytest.raises(SourceError):
        Session(tmp_path / "none")


HALVES = """
from stable_structures.canister import ic, query, update
HALF = chr(0xD800)
@update
def log():
    ic.debug_print("half", HALF)
    return HALF
@update
def trap():
    raise ValueError(HALF)
"""


def test_half_a_character_in_what_a_canister_says_is_shown(tmp_path):
    (tmp_path / "halves.py").write_text(HALVES)
    folder = tmp_path / "c\udcff"  # a name that is not UTF-8
    try:
        Deployment(folder).deploy(tmp_path / "halves.py")
    except OSError:
        pytest.skip("a file system that wants UTF-8")
    page = Page(Session(folder))
    assert page.call("log")["kind"] == "answer"
    assert page.call("trap")["message"].endswith("ValueError: \ud800")
    state = page.client.get("/api/state", headers=page.headers)
    assert (state.status_code, state.json()["logs"][0]) == (200, "half \ud800")
    assert page.client.get("/picture", params={"token": TOKEN}).status_code == 400
    refused = page.client.post(
        "/api/module", content=b'{"name": "\\ud800", "data": ""}', headers=page.headers | {"Content-Type": "application/json"}
    )
    assert (refused.status_code, "neither a Wasm module" in refused.json()["error"]) == (400, True)
