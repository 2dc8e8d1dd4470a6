"""What the buttons of a page do: asked for by requests of their own, which no picture on its way can hold up."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tornado.web import RequestHandler

from easyzloc_mm.errors import EasyZlocError

if TYPE_CHECKING:
    from bokeh.document import Document

HEADER = "X-Easyzloc-Token"
Deed = Callable[[], str]
"""Does something at once, or begins it, and returns a sentence that says so."""

PRESS = """
const [first, twice] = [%s, %s];
if (twice && button.label === first) {
    button.label = twice;
    button.button_type = "danger";
    return;
}
button.disabled = true;
const reply = await fetch(%s, {method: "POST", headers: {%s: %s}}).catch(() => null);
const said = reply ? await reply.text() : "the page's server does not answer: has its command ended?";
button.disabled = reply !== null && reply.ok && twice !== "";
if (button.disabled) button.label = said;
answer.text = button.disabled ? "" : said.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
"""
"""In the browser: one press, or two where it is asked for, then the request; what is answered stands beside it."""


def holds_token(document: Document, token: str) -> bool:
    """Whether a tab was opened with the token, by whoever saw the address that was printed."""
    request = getattr(document.session_context, "request", None)
    given = request.arguments.get("token", [b""])[0] if request else b""
    return bool(token) and secrets.compare_digest(given, token.encode())


@dataclass(frozen=True)
class Offer:
    """A button that a page may have.

    Attributes
    ----------
    name : str
        Of the deed that it asks for.
    label : str
    again : str
        With it the button is pressed twice, and reads so after the first time.
    """

    name: str
    label: str
    again: str = ""


def button(offer: Offer, answer: Any, token: str) -> Any:
    """Return the button of an offer; what the server answers to it is shown in the Div `answer`."""
    from bokeh.models import CustomJS
    from bokeh.models.widgets import Button

    made = Button(label=offer.label, button_type="warning" if offer.again else "default")
    words = (offer.label, offer.again, f"do/{offer.name}", HEADER, token)
    code = PRESS % tuple(json.dumps(word) for word in words)
    made.js_on_click(CustomJS(args={"button": made, "answer": answer}, code=f"(async () => {{{code}}})();"))
    return made


class ActionHandler(RequestHandler):
    """Answers ``POST do/NAME`` of who has the token: 200 with what is done, 409 with why it is not."""

    def initialize(self, token: str, deeds: Mapping[str, Deed]) -> None:
        """Take what the server was made with."""
        self._token, self._deeds = token, deeds

    def post(self, name: str) -> None:
        """Do it."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        given = self.request.headers.get(HEADER, "")
        if not self._token or not secrets.compare_digest(given.encode(), self._token.encode()):
            self.set_status(403)
            self.finish("only a tab that was opened with the address that was printed, token included, may do this")
            return
        deed = self._deeds.get(name)
        if deed is None:
            self.set_status(404)
            self.finish("there is no such button")
            return
        try:
            said = deed()
        except (EasyZlocError, OSError) as error:
            self.set_status(409)
            said = str(error)
        self.finish(said)
