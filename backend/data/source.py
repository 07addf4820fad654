"""Which rows are meant, and who asks for them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """A dataset by name, for `owner`. What is left empty is the first sample, its default config, `train`, `main`.

    `token` is the visitor's own sign-in at the Hub: it opens what they may read, and is kept nowhere.
    """

    dataset: str
    owner: str
    config: str = ""
    split: str = ""
    revision: str = ""
    token: str | None = field(default=None, repr=False)
