"""Which rows of a dataset on the Hub, as one name: `owner/name@revision:config/split`, of which only the first must be.

A run, a script, a card and a link carry such a name as they carry a plain one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_NAME = re.compile(
    r"(?P<name>[\w.\-]{1,96}(?:/[\w.\-]{1,96})?)"
    r"(?:@(?P<revision>[^\s:@]{1,200}))?"
    r"(?::(?:(?P<config>[^\s/:@][^/:@]{0,150})/)?(?P<split>[\w.\-]{1,100}))?"
)


@dataclass(frozen=True)
class Part:
    """What is empty is the default config, `train`, and the newest commit."""

    name: str
    config: str = ""
    split: str = ""
    revision: str = ""

    @classmethod
    def read(cls, text: str) -> Part:
        """Of a text that is no such name, a file's or an upload's, all is the name."""
        match = _NAME.fullmatch(text)
        return cls(**{key: said or "" for key, said in match.groupdict().items()}) if match else cls(text)

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        if not (self.config or self.split):
            return self.name + revision
        config = f"{self.config}/" if self.config else ""
        return f"{self.name}{revision}:{config}{self.split or 'train'}"

    def loading(self, split: str = "train") -> str:
        """The expression with which `datasets` loads it; `split` counts where the name tells none."""
        names, keys = self.asked(split)
        said = [json.dumps(one, ensure_ascii=False) for one in names]
        said += [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
        return f"load_dataset({', '.join(said)})"

    def asked(self, split: str = "train") -> tuple[list[str], dict[str, str]]:
        """What `load_dataset` takes: in order, and by name."""
        names = [self.name] if self.config in ("", "default") else [self.name, self.config]
        return names, {"split": self.split or split} | ({"revision": self.revision} if self.revision else {})
