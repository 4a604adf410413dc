"""The page in a real browser: the tutorial by clicks and by keys, traps, hostile canisters, dark and narrow."""

import re
import signal
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from stable_structures.deployment import Deployment

from ..support import command
from ..support.browser import needs_browser

pytest.importorskip("wasmtime")
pytest.importorskip("starlette")
pytestmark = needs_browser
BUILT = Path(__file__).parents[1] / "canister" / "wasm"

EVIL = "</script><script>document.title = 'HIT'</script><img src=x onerror=\"document.title = 'HIT'\">\u202egnp.exe"
HOSTILE = f'''
from stable_structures.canister import Actor, ic, query, update
EVIL = {EVIL!r}
class Evil(Actor):
    """A canister that wants to run on the page."""
    @query
    def text(self):
        return EVIL
    @query
    def huge(self):
        return EVIL * 20_000
    @update
    def log(self):
        ic.debug_print(EVIL)
    @update
    def trap(self):
        """Traps. <script>document.title = 'HIT'</script>"""
        raise ValueError(EVIL)
'''
EVIL_DID = """type T = record { "<img src=x onerror=alert(1)>" : text; "__proto__" : opt nat };
service : {
  // </script><script>document.title = 'HIT'</script>
  echo : ("<b>name</b>" : T) -> (T) query;
}"""


CONTRAST = r"""(() => {
  const parts = text => text.match(/[\d.]+/g).map(Number);
  const linear = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const texts = 'h1, h2, h3, .quiet, .pill, .kind, .signature, dt, dd, button, .label span, .s-number, .s-type, label';
  return [...document.querySelectorAll(texts)].filter(one => one.offsetParent).map(one => {
    let under = one;
    while (under && (parts(getComputedStyle(under).backgroundColor)[3] ?? 1) === 0) under = under.parentElement;
    const ground = getComputedStyle(under || document.documentElement).backgroundColor;
    const [a, b] = [light(parts(getComputedStyle(one).color)), light(parts(ground))].sort((x, y) => y - x);
    return [one.className || one.tagName, (a + 0.05) / (b + 0.05)];
  });
})()"""


@pytest.fixture
def serve(tmp_path, browser):
    processes = []

    def begin(source, name="canister", arg=None, *more):
        folder = tmp_path / name
        Deployment(folder).deploy(source, arg)
        processes.append(command.Process(["canister", "serve", folder, *more]))
        address = re.search(r"http://\S+", processes[-1].line())[0]
        browser.look(1280, 860)
        browser.errors.clear()
        browser.open(address)
        browser.wait("!!document.querySelector('.card')")
        return folder

    yield begin
    # Every script error and everything that the policy refused would be here.
    errors = list(browser.errors)
    browser.open("about:blank")
    for process in processes:
        with process:
            process.send_signal(signal.SIGTERM)
            process.communicate(20)
    assert errors == []


def card(method):
    return f"[...document.querySelectorAll('.card')].find(one => one.dataset.method === {method!r})"


def click(browser, method, button=0):
    browser.run(f"{card(method)}.querySelectorAll('.go button')[{button}].click()")


def result(browser, method, wanted):
    return browser.wait(
        f"(() => {{ const text = {card(method)}.querySelector('.result')?.innerText; return text?.includes({wanted!r}) && text; }})()"
    )


def fill(browser, method, *values):
    for place, value in enumerate(values):
        browser.run(f"{card(method)}.querySelectorAll('.fields input, .fields textarea')[{place}].value = {value!r}")


def test_the_tutorial_by_clicks(serve, browser):
    folder = serve(BUILT / "counter1_eop.wasm")
    for _ in range(3):
        click(browser, "inc")  # faster than the answers come
    result(browser, "inc", "(3 : nat)")
    browser.run("$('upgrade').click()")
    browser.choose_file("#module", BUILT / "counter2_eop.wasm")
    text = browser.wait("$('verdict').querySelector('.banner')?.innerText")
    assert "The upgrade goes through" in text
    with Deployment(folder).read() as canister:
        assert canister.query("get") == 3
    browser.run("$('install').click()")
    browser.wait("!$('dialog').open && $('notice').innerText.includes('Upgraded')")
    for value in (6, 9):
        click(browser, "inc")
        result(browser, "inc", f"({value} : nat)")
    click(browser, "get")
    assert "instructions" in result(browser, "get", "(9 : nat)")
    with Deployment(folder).read() as canister:
        assert canister.query("get") == 9


def focus_by_tab(browser, wanted):
    """Presses Tab until the focus is on what a label says."""
    label = "one.getAttribute('aria-label') || document.getElementById(one.getAttribute('aria-labelledby'))?.innerText || one.innerText"
    script = f"(one => one === document.body ? '' : {label} || one.id)(document.activeElement)"
    for _ in range(80):
        if wanted in browser.run(script):
            return
        browser.press("Tab")
    pytest.fail(f"no Tab leads to {wanted}")


def test_the_keyboard_alone_does(serve, browser):
    serve(BUILT / "ledger.wasm.gz", "ledger", (7,))
    browser.run("document.activeElement.blur()")
    focus_by_tab(browser, "Call deposit")
    browser.press("Enter")
    browser.wait(f"{card('deposit')}.querySelector('[aria-invalid=true]') === document.activeElement")  # the empty number has the focus
    browser.type("12")
    browser.press("Enter")
    result(browser, "deposit", "(12 : nat64)")
    browser.run("scrollTo(0, 0); document.activeElement.blur()")
    focus_by_tab(browser, "Upgrade")
    browser.press("Enter")
    browser.wait("$('dialog').open")
    browser.choose_file("#module", BUILT / "ledger.wasm.gz")
    browser.wait("!$('install').disabled && document.activeElement.id === 'install'")
    browser.press("Escape")
    browser.wait("!$('dialog').open && document.activeElement.id === 'upgrade'")


def test_a_trap_shows_its_message_and_the_map_lights_what_changed(serve, browser):
    serve(BUILT / "ledger.wasm.gz", "ledger", (7,))
    fill(browser, "deposit", "ada", "100")
    click(browser, "deposit")
    result(browser, "deposit", "(100 : nat64)")
    assert "leaf" in browser.wait("$('changed').innerText")
    assert browser.wait(
        "[...document.querySelectorAll('#bands canvas')].some(one => /cells of .* changed/.test(one.getAttribute('aria-label')))"
    )
    fill(browser, "transfer", "ada", "bob", "1000")
    click(browser, "transfer")
    text = result(browser, "transfer", "not enough money")
    assert "Trapped · IC0503" in text
    assert "undone" in text
    browser.wait("$('logs').innerText.includes('[TRAP]') && !$('changed').innerText")
    fill(browser, "deposit", "ada", "-1")
    click(browser, "deposit")
    assert "at least 0" in browser.wait(f"{card('deposit')}.querySelector('.wrong:not([hidden])')?.innerText")


def test_an_upgrade_that_fails_is_not_offered(serve, browser):
    serve(BUILT / "hooks.wasm.gz", "hooks")
    browser.run(f"{card('break_hook')}.querySelector('select').value = 'true'")
    click(browser, "break_hook")
    result(browser, "break_hook", "()")
    browser.run("$('upgrade').click()")
    browser.choose_file("#module", BUILT / "hooks.wasm.gz")
    assert "pre_upgrade" in browser.wait("document.querySelector('.banner.bad')?.innerText")
    assert browser.run("$('install').disabled")
    browser.run("$('dialog').close()")


def test_what_the_shell_changes_is_seen(serve, browser):
    folder = serve(BUILT / "counter1_eop.wasm")
    version = browser.run("state.version")
    with Deployment(folder).write() as canister:
        canister.call("inc")
    browser.wait(f"state.version === {version + 1} && $('notice').innerText.includes('outside')")


def test_a_hostile_canister_cannot_inject(serve, browser, tmp_path):
    (tmp_path / "evil.py").write_text(HOSTILE)
    serve(tmp_path / "evil.py", "<img src=x onerror=alert(1)>")
    for method in ("text", "huge", "log", "trap"):
        click(browser, method)
        browser.wait(f"!!{card(method)}.querySelector('.result')")
    assert "\\u{202e}" in browser.run(f"{card('trap')}.innerText")
    browser.run(f"{card('huge')}.querySelector('.result button').click()")
    browser.run("$('upgrade').click()")
    bad = tmp_path / "<img src=x onerror=alert(1)>\u202e.py"
    bad.write_text("nothing")
    browser.choose_file("#module", bad)
    browser.wait("document.querySelector('.banner.bad')?.innerText")
    assert "\\u{202e}" in browser.run("$('drop-text').innerText")
    assert browser.run("document.querySelectorAll('img, script, iframe, object, b:not(.label b)').length") == 1  # the page's own script
    assert "HIT" not in browser.run("document.title")
    assert "\u202e" not in browser.run("document.body.innerText")


def test_hostile_names_of_an_interface_cannot_inject(serve, browser, tmp_path):
    (tmp_path / "evil.did").write_text(EVIL_DID)
    (tmp_path / "echo.py").write_text("from stable_structures.canister import query\n@query\ndef echo(x):\n    return x\n")
    serve(tmp_path / "echo.py", "canister", None, "--did", tmp_path / "evil.did")
    labels = browser.run("[...document.querySelectorAll('.label b')].map(one => one.textContent)")
    assert set(labels) == {"<b>name</b>", "__proto__", "<img src=x onerror=alert(1)>"}
    click(browser, "echo")
    result(browser, "echo", "onerror=alert(1)")
    assert browser.run("document.querySelectorAll('img, script').length") == 1
    assert "HIT" not in browser.run("document.title")


def test_a_form_of_every_type_is_sent(serve, browser, tmp_path):
    did = """type L = variant { cons : record { nat; L }; nil };
type Pair = record { text; bool };
type All = record { a : opt opt nat; b : vec Pair; c : L; d : blob; e : principal; f : func () -> (); g : float64 };
service : { echo : (All) -> () query; }"""
    (tmp_path / "x.did").write_text(did)
    (tmp_path / "echo.py").write_text("from stable_structures.canister import query\n@query\ndef echo(x):\n    return str(x)\n")
    serve(tmp_path / "echo.py", "canister", None, "--did", tmp_path / "x.did")
    browser.run("""(() => {
      const field = name => [...document.querySelectorAll('.field')].find(one => one.querySelector('.label b').textContent === name);
      field('a').querySelector('input').click(); field('value').querySelector('input').click();
      const named = name => [...document.querySelectorAll('.field')].filter(one => one.querySelector('.label b').textContent === name);
      named('value')[1].querySelector('input').value = '9'.repeat(40);
      field('b').querySelector(':scope > div > button').click();
      field('item').querySelector('textarea').value = 'né';
      field('item').querySelector('select').value = 'true';
      const list = field('c').querySelector('select');
      list.value = [...list.options].findIndex(one => one.textContent === 'cons');
      list.dispatchEvent(new Event('change'));
      field('cons').querySelector('input').value = '7';
      field('d').querySelector('select').value = 'hex'; field('d').querySelector('textarea').value = '00ff';
      field('e').querySelector('input').value = 'aaaaa-aa';
      field('f').querySelector('input').value = 'aaaaa-aa.x'; field('g').querySelector('input').value = '1.5';
    })()""")
    click(browser, "echo")
    text = result(browser, "echo", "9" * 40)
    for wanted in ("né", "True", "cons", "nil", "\\\\x00\\\\xff", "aaaaa-aa", "1.5"):
        assert wanted in text, text


@pytest.mark.parametrize("dark", [False, True])
def test_it_is_legible_dark_and_light_and_narrow(serve, browser, tmp_path, dark):
    serve(BUILT / "ledger.wasm.gz", "ledger", (7,))
    browser.look(420, 800, dark=dark)
    fill(browser, "deposit", "ada", "100")
    click(browser, "deposit")
    result(browser, "deposit", "(100 : nat64)")
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    browser.run("$('upgrade').click()")
    browser.choose_file("#module", BUILT / "ledger.wasm.gz")
    browser.wait("!!document.querySelector('.banner')")
    assert browser.run("$('dialog').scrollWidth <= $('dialog').clientWidth && $('dialog').clientWidth <= 420")
    browser.run("$('dialog').close()")
    pixels = matplotlib.image.imread(browser.shot(tmp_path / "shot.png"))[..., :3]
    assert (float(np.median(pixels)) < 0.3) == dark
    ratios = browser.run(CONTRAST)
    assert len(ratios) > 30
    assert [one for one in ratios if one[1] < 4.5] == []


def test_whatever_can_be_used_has_a_name(serve, browser):
    serve(BUILT / "ledger.wasm.gz", "ledger", (7,))
    browser.run("$('upgrade').click()")
    browser.choose_file("#module", BUILT / "ledger.wasm.gz")
    browser.wait("!!document.querySelector('.banner')")
    browser.run("$('more').open = true")
    dialog = browser.ask("Accessibility.getFullAXTree")["nodes"]
    browser.run("$('dialog').close(); $('options').open = true")
    nodes = dialog + browser.ask("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "textbox", "checkbox", "combobox", "link", "searchbox", "image", "img", "region", "dialog", "group"}
    found = [
        (one["role"]["value"], one.get("name", {}).get("value", ""))
        for one in nodes
        if not one.get("ignored") and one.get("role", {}).get("value") in roles
    ]
    assert len(found) > 25
    assert {role for role, name in found if not name and role != "group"} == set()
