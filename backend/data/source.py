"""Which rows are meant, and who asks for them."""

from __future__ import annotations

from dataclasses import dataclass, field

from backend.recipes.part import Part


@dataclass(frozen=True)
class Source:
    """A dataset by name, for `owner`. What is left empty is the first sample, its default config, `train`, `main`.

    The name may tell which part of it is meant, as `Part` does; what is said beside it counts for more.
    `token` is the visitor's own sign-in at the Hub: it opens what they may read, and is kept nowhere.
    """

    dataset: str
    owner: str
    config: str = ""
    split: str = ""
    revision: str = ""
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        part = Part.read(self.dataset.strip())
        for key, said in (("config", part.config), ("split", part.split), ("revision", part.revision)):
            object.__setattr__(self, key, getattr(self, key) or said)
        object.__setattr__(self, "dataset", part.name)
