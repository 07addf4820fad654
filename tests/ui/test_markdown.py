from __future__ import annotations

import random
import re

import pytest

from ui.markdown import Growing, blocks, unclosed

LONG = """# Title

Some **bold** text with `code` and a [link](https://example.org).
A second line.

- one
- two

  still two

1. first
2. second

```python
print("<b>")


x = 1
```

| a | b |
|---|---|
| 1 | 2 |

> quoted
lazily

    indented code

---
The end\u2028of it"""


def test_markdown_is_drawn():
    drawn = "".join(blocks(LONG))
    for part in (
        "<h1>",
        "<strong>bold</strong>",
        "<code>code</code>",
        "<ul>",
        "<ol>",
        "<table>",
        "<blockquote>",
        "<hr />",
    ):
        assert part in drawn
    assert len(blocks(LONG)) == 10


@pytest.mark.parametrize("seed", range(8))
def test_however_it_arrives_it_is_drawn_the_same(seed):
    chance, growing, at, drawn = random.Random(seed), Growing(), 0, []
    while at < len(LONG):
        step = chance.randint(1, 9)
        drawn = growing.add(LONG[at : at + step])
        at += step
    assert drawn == blocks(LONG)


def test_what_is_whole_is_not_drawn_again():
    growing = Growing()
    growing.add("one\n\ntwo\n\nthree")
    assert growing._rest == "three"


def test_a_block_that_grows_is_an_end_to_send():
    for text in ("some words", "- one\n- two", "```\ncode", "> quoted **bold** words"):
        less, more = (unclosed(blocks(part)[-1]) for part in (text, text + " and more"))
        assert more.startswith(less)
        assert len(more) - len(less) < 20
    assert unclosed("<p>a</p> b") == "<p>a</p> b"


def test_nothing_gives_nothing():
    assert blocks("") == blocks(" \n") == []


@pytest.mark.parametrize(
    "evil",
    [
        "<script>window.hit=1</script>",
        "<img src=x onerror=alert(1)>",
        "a <iframe src=//evil.example></iframe> b",
        "![p](http://evil.example/p.png)",
        "![p][1]\n\n[1]: http://evil.example/p.png",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:x)",
        "[x](/gradio_api/upload)",
        "<javascript:alert(1)>",
        "<a href='javascript:alert(1)'>x</a>",
        '[x](https://a.b "onmouseover=alert(1)")',
        '[x](https://a.b" onclick="alert(1))',
        "```<img src=x>\ncode\n```",
        '``` "onload=alert(1)\ncode\n```',
        "| <svg onload=alert(1)> |\n|---|\n| <style>*{}</style> |",
        "&lt;script&gt;",
        "<!-- <b> --> <![CDATA[ <b> ]]> <?php ?>",
    ],
)
def test_what_a_model_writes_can_do_nothing(evil):
    """Only the tags and attributes that Markdown itself makes are in it, and links lead to the web alone."""
    drawn = "".join(blocks(evil))
    tags = re.findall(r"<(/?[a-zA-Z!?][^>]*)>", drawn)
    for tag in tags:
        assert re.fullmatch(
            r"/?(p|a|code|pre|table|thead|tbody|tr|th|td|br|em|strong|ul|ol|li|blockquote)"
            r'( (href="(https?:|mailto:)[^"<>]*"|title="[^"<>]*"|class="language-[^"<>]*"|target="_blank"'
            r'|rel="noopener noreferrer nofollow"|style="text-align:\w+"))* ?/?',
            tag,
        ), f"{evil!r} is drawn as {drawn!r}"


def test_html_is_seen_as_it_was_written():
    assert blocks("a <b>c</b>") == ["<p>a &lt;b&gt;c&lt;/b&gt;</p>\n"]


def test_terminal_colours_are_seen():
    assert blocks("\x1b[31mred\x07") == ["<p>␛[31mred␇</p>\n"]


def test_links_open_elsewhere_and_say_nothing_of_this_page():
    assert 'target="_blank" rel="noopener noreferrer nofollow"' in blocks("[x](https://a.b)")[0]
