"""Pages for people, in Japanese and English: rendered from templates, with safe headers."""

from __future__ import annotations

from starlette.responses import HTMLResponse

from kazashi.web.templates import environment
from kazashi.world.rng import new_token

Bilingual = tuple[str, str]
"""A sentence in Japanese, and the same in English."""


class Pages:
    """The pages whose templates stand in the folder `templates` of a package."""

    def __init__(self, package: str) -> None:
        self._environment = environment(package)

    def page(
        self, template: str, *, status: int = 200, form_action: str = "'self'", **values: object
    ) -> HTMLResponse:  # fmt: skip
        """A page. Nothing is loaded, framed, or sent anywhere but to `form_action`; styles and scripts need the nonce
        that the template is given."""
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
    """A page that says what runs here."""
    return _PAGES.page("welcome.html", sentence=sentence)


def refusal(*trouble: Bilingual, status: int = 400) -> HTMLResponse:
    """A page that says what went wrong, and leads nowhere."""
    return _PAGES.page("refusal.html", status=status, form_action="'none'", trouble=trouble)


def onward(address: str) -> HTMLResponse:
    """A page that goes on to an address of the same site by itself. A redirect would belong to the form that led here,
    whose page allows one site only, and would not carry what the browser keeps for this one."""
    return _PAGES.page("onward.html", form_action="'none'", address=address)
