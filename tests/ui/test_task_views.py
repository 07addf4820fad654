from __future__ import annotations

import re

from ui import task_views as v


def words(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html)


def test_bars_are_as_long_as_their_scores_and_never_less_than_nothing():
    drawn = v.bars([{"label": "tea", "score": 0.75}, {"label": "<b>rain", "score": -0.2}])
    assert re.findall(r"width:([\d.]+)%", drawn) == ["75.0", "0.0"]
    assert "&lt;b&gt;rain" in drawn
    assert "-0.200" in drawn


def test_names_are_marked_where_they_are_and_the_text_stays_whole():
    text = "Ada <met> Charles"
    spans = [{"start": 10, "end": 17, "label": "PER"}, {"start": 0, "end": 3, "label": "PER"}]
    drawn = v.marked(text, spans)
    assert words(drawn).replace(" PER", "") == "Ada &lt;met&gt; Charles"
    assert drawn.count("<mark class=hue-0>") == 2
    assert drawn.index("Ada") < drawn.index("Charles")


def test_spans_that_overlap_or_are_empty_are_left_out():
    spans = [
        {"start": 0, "end": 3, "label": "A"},
        {"start": 2, "end": 5, "label": "B"},
        {"start": 5, "end": 5, "label": "C"},
    ]
    assert v.marked("abcdef", spans).count("<mark") == 1


def test_no_names_is_said():
    assert "No names found" in v.marked("nothing", [])


def test_the_heat_map_has_each_text_with_each():
    drawn = v.heat(["a", 'b"<'], [[1, 0.5], [0.5, 1]])
    assert re.findall(r"--heat:(\d+)%", drawn) == ["100", "50", "50", "100"]
    assert "b&quot;&lt;" in drawn


def test_a_result_says_how_and_how_long():
    about = {"how": "by <hand>", "seconds": 1.234}
    for values in (
        {"labels": [{"label": "a", "score": 1.0}]},
        {"entities": []},
        {"answer": "b", "start": 0, "end": 1, "score": 0.5},
        {"answer": "said"},
        {"texts": ["a"], "matrix": [[1.0]]},
        {"texts": ["a"], "vectors": [[1.0, 0.0]]},
        {"text": "<script>"},
        {"text": ""},
    ):
        drawn = v.result(values | about, "b and more")
        assert "by &lt;hand&gt; · 1.23 s" in drawn
        assert "<script>" not in drawn
    assert "<mark" in v.result({"answer": "b", "start": 0, "end": 1, "score": 0.5}, "b and more")
    assert "nothing was said" in v.result({"text": ""})
