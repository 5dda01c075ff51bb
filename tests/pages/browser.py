"""A headless Chromium, driven by the W3C's WebDriver protocol: as much of it as the tests need."""

import base64
import json
import re
import shutil
import subprocess

import urllib3

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
DRIVER = shutil.which("chromedriver")

_ARGUMENTS = (
  "headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run",
  "disable-background-networking", "disable-component-update", "disable-sync",
)  # fmt: skip
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's name of a reference to one
KEYS = {"Escape": "\ue00c", "Enter": "\ue007", "ArrowDown": "\ue015", "ArrowRight": "\ue014"}


class Browser:
  """One window; used as a context manager."""

  def __init__(self):
    self._process = subprocess.Popen(
      [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    ports = (re.search(r"successfully on port (\d+)", line) for line in self._process.stdout)
    port = next(filter(None, ports))[1]
    self._http = urllib3.HTTPConnectionPool("127.0.0.1", int(port), timeout=240, retries=False)
    self._path = ""
    options = {"binary": CHROMIUM, "args": [f"--{x}" for x in _ARGUMENTS]}
    wanted = {
      "browserName": "chrome",
      "goog:chromeOptions": options,
      "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }
    made = self._call("POST", "/session", capabilities={"alwaysMatch": wanted})
    self._path = f"/session/{made['sessionId']}"

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self._call("DELETE", "")
    self._http.close()
    self._process.terminate()
    self._process.communicate()

  def open(self, url):
    self._call("POST", "/url", url="about:blank")  # so that an address with a # is read anew
    self._call("POST", "/url", url=url)

  def run(self, script, *arguments):
    """What the body of a function returns in the page."""
    return self._call("POST", "/execute/sync", script=script, args=list(arguments))

  def texts(self, selector):
    """What each of these elements shows, be it in sight or not."""
    return self.run(
      "const list = document.querySelectorAll('#list li');"
      "for (const line of list) line.style.contentVisibility = 'visible';"
      "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)",
      selector,
    )

  def press(self, *keys):
    """Presses keys where the focus is."""
    strokes = [
      {"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")
    ]
    self._call("POST", "/actions", actions=[{"type": "key", "id": "keys", "actions": strokes}])

  def click(self, selector):
    found = self._call("POST", "/element", using="css selector", value=selector)
    self._call("POST", f"/element/{found[_ELEMENT]}/click")

  def choose(self, name, value):
    """Sets a field as its user would, but at once."""
    self.run(
      "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
      "field.dispatchEvent(new Event(field.id === 'set' ? 'change' : 'input'))",
      name, value,
    )  # fmt: skip

  def log(self, kind):
    """What has been logged since it was last asked: "browser" (the console) or "performance"."""
    return self._call("POST", "/se/log", type=kind)

  def requests(self):
    """The addresses that were asked for since the performance log was last read."""
    events = (json.loads(entry["message"])["message"] for entry in self.log("performance"))
    return [
      event["params"]["request"]["url"]
      for event in events
      if event["method"] == "Network.requestWillBeSent"
    ]

  def devtools(self, command, **parameters):
    return self._call("POST", "/goog/cdp/execute", cmd=command, params=parameters)

  def picture(self):
    """The window as PNG."""
    return base64.b64decode(self._call("GET", "/screenshot"))

  def _call(self, method, path, **body):
    answer = self._http.request(method, self._path + path, json=body if method == "POST" else None)
    value = answer.json()["value"]
    if answer.status != 200:
      raise RuntimeError(f"{value['error']}: {value['message']}")
    return value
