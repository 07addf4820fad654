"""The environment, read once. Every variable is listed in the README; a test holds the two together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backend.errors import BadInput

LENT_TOKEN = "ATELIER_LENT_TOKEN"  # of whoever started a run that asks a provider; set for that run's process alone


@dataclass(frozen=True)
class Settings:
    """Where things are and what this server allows."""

    home: Path
    starter: Path
    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False
    memory_limit: float = 0.0  # GB of address space for the engine and for each run; 0 is no limit
    cache_limit: float = 0.0  # GB that downloads may make the Hugging Face cache; 0 is the disk's own limit
    models: tuple[str, ...] = ()  # patterns of the models that visitors may use; none allows all
    pinned: tuple[str, ...] = ()  # models that ZeroGPU has from the start
    training: str = "all"  # who may start runs: all, signed-in, owner
    tabs: tuple[str, ...] = ()  # those shown; none shows all
    runs_at_once: int = 0  # of one visitor, waiting ones included; 0 is no limit
    answer_tokens: int = 0  # of a visitor's answer; 0 is no limit
    compiled: bool = False  # whether models that draw are compiled on a GPU
    keep: str = ""  # the owner's private data set at the Hub that runs are kept in
    lasting: bool = True  # whether what is in `home` outlives a restart
    zerogpu: bool = False  # whether this is a ZeroGPU Space
    slice_seconds: int = 55  # of a run on ZeroGPU
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # what children inherit; holds secrets

    @property
    def public(self) -> bool:
        """Whether strangers can reach this server: then paths of this machine and its own sign-in are not lent."""
        return self.share or "SPACE_ID" in self.env or self.host not in ("127.0.0.1", "localhost", "::1")

    def owns(self, owner: str) -> bool:
        """Whether `owner` is whose server this is: a Space's author, signed in; everybody where no stranger comes."""
        author = self.env.get("SPACE_AUTHOR_NAME") or self.env.get("SPACE_ID", "").partition("/")[0]
        return not self.public or bool(author and owner == f"user-{author}")

    @property
    def child_env(self) -> Mapping[str, str]:
        """What the engine and the runs inherit."""
        inherited = {name: value for name, value in self.env.items() if not name.lower().startswith("spaces_zero")}
        return {**inherited, "ATELIER_HOME": str(self.home), "ATELIER_STARTER": str(self.starter)}

    @classmethod
    def read(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Raises BadInput naming the variable and its value."""
        env = dict(os.environ if env is None else env)
        on_space = "SPACE_ID" in env
        volume = Path("/data")
        home = env.get("ATELIER_HOME") or (
            str(volume / "atelier") if on_space and os.access(volume, os.W_OK) else ".atelier"
        )
        cache = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cls(
            home=Path(home).expanduser().absolute(),
            starter=Path(env.get("ATELIER_STARTER") or cache / "atelier" / "starter").expanduser().absolute(),
            host=env.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if on_space else "127.0.0.1"),
            port=int(_number(env, "GRADIO_SERVER_PORT", _number(env, "PORT", 7860))),
            share=env.get("GRADIO_SHARE", "").lower() in ("1", "true", "yes"),
            memory_limit=_number(env, "ATELIER_MEMORY_LIMIT", 0),
            cache_limit=_number(env, "ATELIER_CACHE_LIMIT", 0),
            models=_words(env, "ATELIER_MODELS"),
            pinned=_words(env, "ATELIER_PINNED"),
            compiled=env.get("ATELIER_COMPILE", "").lower() in ("1", "true", "yes"),
            keep=env.get("ATELIER_KEEP", "").strip(),
            lasting=not on_space or _mounted(Path(home).expanduser().absolute()),
            training=_one_of(env, "ATELIER_TRAINING", ("all", "signed-in", "owner")),
            tabs=_words(env, "ATELIER_TABS"),
            runs_at_once=int(_number(env, "ATELIER_RUNS_AT_ONCE", 0)),
            answer_tokens=int(_number(env, "ATELIER_ANSWER_TOKENS", 0)),
            zerogpu=env.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"),
            slice_seconds=int(_number(env, "ATELIER_SLICE", 55)),
            env=env,
        )


def _mounted(path: Path) -> bool:
    """Whether `path` is, or will be, on another disk than the system: on a Space that is a volume."""
    there = next(one for one in (path, *path.parents) if one.exists())
    return there.stat().st_dev != Path("/").stat().st_dev


def _words(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(word.strip() for word in env.get(name, "").split(",") if word.strip())


def _one_of(env: Mapping[str, str], name: str, known: tuple[str, ...]) -> str:
    """The first of `known` unless set."""
    value = env.get(name) or known[0]
    if value not in known:
        raise BadInput(f"{name} is {value!r}; it must be one of {', '.join(known)}.", f"Correct or unset {name}.")
    return value


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = -1
    if value < 0:
        raise BadInput(f"{name} is {text!r}; it must be a number, 0 or more.", f"Unset {name} or set it to a number.")
    return value
