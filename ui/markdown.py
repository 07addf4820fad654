"""What a model writes, as HTML that can do nothing: Markdown drawn, everything else shown as it was written.

HTML in it is text. Pictures become links, so nothing is fetched unless somebody presses one; links open elsewhere and
only lead to web pages and mail. Control characters, such as those of terminal colours, are shown as signs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

_SIGNS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"} | {0x7F: 0x2421}
_CLOSING = re.compile(r"(\s*</\w+>)+\s*\Z")
_LEADS_TO = ("http:", "https:", "mailto:")


def _link_open(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    tokens[index].attrSet("target", "_blank")
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    return str(self.renderToken(tokens, index, options, env))


def _parser() -> MarkdownIt:
    parser = (
        MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"]).disable("image")
    )
    parser.validateLink = lambda url: url.strip().lower().startswith(_LEADS_TO)  # type: ignore[method-assign]
    parser.add_render_rule("link_open", _link_open)
    return parser


_PARSER = _parser()


def blocks(text: str) -> list[str]:
    """The HTML of each paragraph, list, table, … of `text`."""
    return Growing().add(text)


def unclosed(html: str) -> str:
    """A block without its last closing tags, which a browser adds again: so more text is only an end to send."""
    return _CLOSING.sub("", html)


class Growing:
    """A text that grows at its end: what is whole is drawn once, only the last block again and again."""

    def __init__(self) -> None:
        self._whole: list[str] = []
        self._rest = ""

    def add(self, text: str) -> list[str]:
        """The blocks of all that was added so far."""
        self._rest += text.translate(_SIGNS).replace("\r\n", "\n").replace("\r", "\n")
        env: dict[str, Any] = {}
        tokens = _PARSER.parse(self._rest, env)
        begins = [place for place, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0]
        ends = [*begins[1:], len(tokens)]
        drawn = [
            _PARSER.renderer.render(tokens[begin:end], _PARSER.options, env)
            for begin, end in zip(begins, ends, strict=False)  # no text has an end but no beginning
        ]
        if len(begins) > 1 and (lines := tokens[begins[-1]].map):
            self._whole += drawn[:-1]
            self._rest = "\n".join(self._rest.split("\n")[lines[0] :])
            drawn = drawn[-1:]
        return [*self._whole, *drawn]
