"""HTML pages in Japanese and English, rendered from templates and sent with security headers."""

from __future__ import annotations

from starlette.responses import HTMLResponse

from kazashi.web.guard import Guard, Problem
from kazashi.web.templates import environment
from kazashi.world.rng import new_token
from kazashi.world.storage import StoreFailed

MAX_FORM = 64 << 10
"""The maximum size of a form, in bytes."""

Bilingual = tuple[str, str]
"""A sentence in Japanese, and its translation into English."""


class Pages:
    """The pages whose templates are in the folder `templates` of a package."""

    def __init__(self, package: str) -> None:
        self._environment = environment(package)

    def page(
        self, template: str, *, status: int = 200, form_action: str = "'self'", **values: object
    ) -> HTMLResponse:  # fmt: skip
        """Render a page. `values` are the template's variables.

        Its policy lets it load nothing, be framed nowhere, and send forms to `form_action` only. Styles and scripts
        need the nonce that the template gets.
        """
        nonce = new_token(128)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; form-action {form_action}; "
            "frame-ancestors 'none'; base-uri 'none'"
        )
        html = self._environment.get_template(template).render(values, nonce=nonce)
        return HTMLResponse(html, status, {
            "Content-Security-Policy": policy, "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
            "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
        })  # fmt: skip


_PAGES = Pages("kazashi.web")


def welcome(sentence: Bilingual) -> HTMLResponse:
    """A page that says which server this is."""
    return _PAGES.page("welcome.html", sentence=sentence)


def refusal(*trouble: Bilingual, status: int = 400) -> HTMLResponse:
    """An error page, without links or forms."""
    return _PAGES.page("refusal.html", status=status, form_action="'none'", trouble=trouble)


PAGES = Guard(
    MAX_FORM,
    {StoreFailed: Problem(503, message="the site's store does not respond: {}")},
    lambda error, code, message: ("いまは受け付けられません。", message),
    lambda trouble, status, headers: refusal(trouble, status=status),
)
"""The limit on forms, and the error pages, of every application with pages."""


def onward(address: str) -> HTMLResponse:
    """A page that forwards the browser to another URL of the same site.

    A redirect would not do. It would count as part of the form submission that led here, whose page allows one site
    only, and it would not send the cookies that the browser keeps for this site.
    """
    return _PAGES.page("onward.html", form_action="'none'", address=address)
