"""The Hub, as the one who asks may use it, and what of it is on this machine.

    lab.hub.account.who(owner)                    whose sign-in is used, where it comes from, and what it may
    lab.hub.repositories.mine(owner, "model")     their repositories; search, page, create, rename, delete are there too
    lab.hub.cache.look(owner)                     what the cache of this machine holds; what deleting would free
    lab.hub.rented.cost(owner, target)            what a run on Hugging Face Jobs costs at most
    lab.hub.transfers.download(owner, name)       begins to bring a repository here; uploads are there too

Every method raises LabError and nothing else. Without a network the cache is still there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.errors import NotYours
from backend.hub.account import Account
from backend.hub.cache import Cache
from backend.hub.rented import Rented
from backend.hub.repositories import Repositories
from backend.hub.transfers import Transfers

if TYPE_CHECKING:
    from backend.lab import Lab


class Hub:
    """What belongs to the Hub, for one Lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.account = Account(lab)
        self.repositories = Repositories(lab, self.account)
        self.rented = Rented(lab)
        self.cache = Cache(lab.settings, self.keeps)
        self.transfers = Transfers(lab, self.cache, self.keeps)

    def is_keeper(self, owner: str) -> bool:
        """Whether `owner` looks after this machine: alone with it, or the Space's own account."""
        settings = self.lab.settings
        host = settings.env.get("SPACE_ID", "").partition("/")[0]
        return not settings.public or bool(host and owner == f"user-{host}")

    def keeps(self, owner: str) -> None:
        """Raises NotYours unless `owner` looks after this machine."""
        if not self.is_keeper(owner):
            raise NotYours(
                "Others use this machine too; only its owner may change what is on it.",
                "Duplicate the Space, or run Atelier on your own machine.",
            )

    def close(self) -> None:
        """End transfers; what they brought stays, and they can be taken up again."""
        self.transfers.close()
