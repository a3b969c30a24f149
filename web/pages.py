"""Pages for people, in Japanese and English: one look for agent, sample site and provider, and safe headers."""

from __future__ import annotations

from html import escape
from typing import Any

from starlette.responses import HTMLResponse

from kazashi.world.chance import unforeseen

_STYLE = """
:root{font-family:"Noto Sans JP",system-ui,sans-serif;color:#1c2733;background:#f3f5f7;line-height:1.6}
body{max-width:34rem;margin:3rem auto;padding:0 1rem}main{background:#fff;border-radius:.6rem;padding:1.6rem 2rem;
box-shadow:0 1px 4px #0002}h1{font-size:1.25rem;margin:0 0 .6rem}.en{color:#5b6b7b;font-size:.9em}
input{font-size:1.2rem;padding:.4rem .6rem;width:100%;box-sizing:border-box;margin:.3rem 0 .8rem;border:1px solid #9ab}
button,a.button{font-size:1rem;padding:.5rem 1.2rem;border:0;border-radius:.3rem;background:#1b5e8c;color:#fff;
text-decoration:none;display:inline-block;cursor:pointer}.bad{color:#a1260d;font-weight:600}
.origin{font-size:1.15rem;font-weight:700;word-break:break-all;background:#eef4f9;padding:.4rem .6rem}
blockquote{border-left:4px solid #1b5e8c;margin:.6rem 0;padding:.2rem .8rem;white-space:pre-wrap}
dt{color:#5b6b7b;font-size:.9em}dd{margin:0 0 .5rem}select{font-size:1.1rem;padding:.3rem;margin:.3rem 0 .8rem;
display:block}table{border-collapse:collapse;width:100%;margin:.6rem 0}th{font-weight:400;color:#5b6b7b;font-size:.8em}
th,td{text-align:right;padding:.3rem .4rem;border-bottom:1px solid #dde3e8}form{margin:1rem 0}
"""


def both(japanese: str, english: str) -> str:
    """A sentence in Japanese, and in English below it. Both are escaped."""
    return f'{escape(japanese)}<br><span class="en">{escape(english)}</span>'


def alert(words: str) -> str:
    """What went wrong, on a page; `words` are HTML."""
    return f'<p class="bad" role="alert">{words}</p>'


def page(
    title: str, body: str, *, status: int = 200, form_action: str = "'self'", submits_itself: bool = False,
    headers: dict[str, str] | None = None,
) -> HTMLResponse:  # fmt: skip
    """A page around `body`, which is HTML. Nothing is loaded, framed, or sent anywhere but to `form_action`."""
    nonce = f"{unforeseen(128):032x}"
    script = f'<script nonce="{nonce}">document.forms[0].submit()</script>' if submits_itself else ""
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; form-action {form_action}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    html = (
        f'<!doctype html><html lang="ja"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{escape(title)}</title><style nonce="{nonce}">{_STYLE}</style><main>{body}</main>{script}</html>'
    )
    return HTMLResponse(html, status, {
        "Content-Security-Policy": policy, "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(headers or {}),
    })  # fmt: skip


def form(action: str, hidden: dict[str, Any], inside: str) -> str:
    """A form that posts; `inside` is HTML."""
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(str(value))}">' for name, value in hidden.items()
    )
    return f'<form method="post" action="{escape(action)}" autocomplete="off">{fields}{inside}</form>'


def onward(address: str) -> HTMLResponse:
    """A page that goes on to an address of the same site by itself. A redirect would belong to the form that led here,
    whose page allows one site only, and would not carry what the browser keeps for this one."""
    refresh = f'<meta http-equiv="refresh" content="0;url={escape(address)}">'
    link = f'<p><a href="{escape(address)}">{both("続ける", "Continue")}</a></p>'
    return page("かざし", refresh + link, form_action="'none'")
