"""What the presses of the Hub tab do. The view is a small dict: which pane, what is asked; never what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from backend.lab import Lab
from ui.hub import drawer, machine, views
from ui.page import Page
from ui.toasts import calmly

START: dict[str, Any] = {
    "pane": "", "kind": "model", "words": "", "start": 0, "asked": {}, "found": False, "repository": "", "plan": {},
    "chosen": [],
}  # fmt: skip
ASKED = ("words", "task", "library", "size", "licence")
Told = Mapping[str, Any]


class Desk:
    """Each `on_…` takes the view, what was pressed and who pressed it, and gives the view as it is then."""

    def __init__(self, lab: Lab, page: Page) -> None:
        self.lab, self.page, self.hub = lab, page, lab.hub

    # -- drawing ------------------------------------------------------------------------------------------------

    def first(self, who: str) -> str:
        """The pane that a newcomer sees: their repositories, else the search, else this machine."""
        if not self.hub.account.reached():
            return "machine" if self.lab.settings.public else "cache"
        return "mine" if self.hub.account.token(who) else "find"

    def head(self, view: Told, who: str) -> str:
        problem = ""

        def note(error: Exception) -> dict[str, Any]:
            nonlocal problem
            problem = str(error)
            return {}

        reached = self.hub.account.reached()
        found = calmly(self.hub.account.who, note)(who) if reached else {}
        return views.head(found, reached, view["pane"], problem)

    def body(self, view: Told, who: str) -> str:
        """The pane; what can't be had is said in its place."""
        return str(calmly(self._pane, lambda error: views.calm(str(error)))(view, who))

    def _pane(self, view: Told, who: str) -> str:
        if view["repository"]:
            told = self.hub.repositories.page(who, view["kind"], view["repository"])
            return views.page(told, self.page.has, view["plan"])
        match view["pane"]:
            case "mine":
                return views.mine(self.hub.repositories.mine(who, view["kind"]), view)
            case "find":
                rows = self.hub.repositories.search(who, view["kind"], **view["asked"]) if view["found"] else None
                found = views.calm("Everything the Hub has, for this machine.") if rows is None else views.table(rows)
                return views.find(view, self.hub.repositories.choices, found)
            case "cache":
                plan = self.hub.cache.plan(who, view["chosen"]) if view["chosen"] else None
                return views.cache(self.hub.cache.look(who), plan)
            case "machine":
                return machine.resources(self.lab.resources.look(who))
            case "secrets":
                return drawer.secrets(self.lab.vault.names(who), self.lab.vault.kept)
            case _:
                return drawer.learn(self.lab.learn())

    def beside(self, view: Told, who: str) -> str:
        """What stands over a pane that changes by itself, and must not be drawn anew while somebody types."""
        if view["repository"]:
            return ""
        if view["pane"] == "mine":
            return drawer.deposit(self.lab.deposits.look(who))
        if view["pane"] != "machine":
            return ""
        return machine.space(calmly(self.hub.rented.space, lambda error: {})(who))

    def transfers(self, who: str) -> str:
        return views.transfers(self.hub.transfers.list(who))

    def busy(self, view: Told, who: str) -> bool:
        """Whether what is shown changes by itself."""
        going = any(one["state"] == "running" for one in self.hub.transfers.list(who))
        return going or (view["pane"] == "machine" and not view["repository"])

    # -- presses ------------------------------------------------------------------------------------------------

    def acted(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        """The view after a press. Raises what the Lab raises; then nothing has changed."""
        act = ACTS.get(str(event.get("act", "")))
        return view if act is None else act(self, {**view, "plan": {}, "chosen": []}, event, who)

    def on_pane(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        return START | {"pane": str(event["pane"]), "kind": view["kind"]}

    def on_kind(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        asked = {"words": view["asked"].get("words", "")}
        return view | {"kind": str(event["kind"]), "start": 0, "words": "", "asked": asked}

    def on_words(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        return view | {"words": str(event.get("words", ""))[:200], "start": 0}

    def on_page(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        return view | {"start": int(event["start"])}

    def on_again(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        self.hub.repositories.mine(who, view["kind"], fresh=True)
        return view

    def on_search(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        asked = {name: str(event.get(name) or "")[:200] for name in ASKED}
        return view | {"asked": asked, "found": True}

    def on_open(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        return view | {"kind": str(event["kind"]), "repository": str(event["name"])}

    def on_back(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        return view | {"repository": ""}

    def on_create(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        name = self.hub.repositories.create(who, view["kind"], str(event.get("name", "")), bool(event.get("private")))
        gr.Info(f"{name} is there now, empty.")
        return view | {"repository": name}

    def on_rename(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        return view | {"repository": self.hub.repositories.rename(who, view["kind"], event["name"], str(event["to"]))}

    def on_show(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        self.hub.repositories.show(who, view["kind"], str(event["name"]), bool(event["private"]))
        return view

    def on_delete(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        self.hub.repositories.delete(who, view["kind"], str(event["name"]), str(event.get("typed", "")))
        gr.Info("It is deleted.")
        return view | {"repository": ""}

    def on_plan(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        revision = str(event.get("revision") or "").strip()
        everything = bool(event.get("everything"))
        plan = self.hub.transfers.plan(who, view["kind"], view["repository"], revision, everything)
        return view | {"plan": plan | {"revision": revision, "everything": everything}}

    def on_download(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        which = view["kind"], view["repository"], str(event.get("revision") or ""), bool(event.get("everything"))
        self.hub.transfers.download(who, *which)
        return view

    def on_stop(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        self.hub.transfers.stop(who, str(event["id"]))
        return view

    def on_resume(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        self.hub.transfers.again(who, str(event["id"]))
        return view

    def on_forget(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        self.hub.transfers.forget(who, str(event["id"]))
        return view

    def on_cache_plan(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        return view | {"chosen": [str(event["name"])]}

    def on_cache_delete(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        freed = self.hub.cache.delete(who, [str(event["names"])])
        gr.Info(f"{freed / 1e6:,.0f} MB are free again.")
        return view

    def on_free(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        gr.Info(self.lab.resources.free(who, str(event["key"])))
        return view

    def on_upgrade(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        gr.Info(self.hub.rented.upgrade(who, str(event["hardware"])))
        return view

    def on_keep(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        self.lab.deposits.begin(who)
        gr.Info(f"Kept from now on in {self.lab.deposits.look(who)['repository']}.")
        return view

    def on_keep_no_more(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        self.lab.deposits.end(who)
        return view

    def on_secret_put(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        self.lab.vault.put(who, str(event.get("name", "")), str(event.get("value", "")))
        return view

    def on_secret_give(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        self.lab.vault.give(who, str(event["name"]), bool(event["given"]))
        return view

    def on_secret_delete(self, view: dict[str, Any], event: Told, who: str) -> dict[str, Any]:
        self.lab.vault.delete(who, str(event["name"]))
        return view


ACTS: Mapping[str, Callable[[Desk, dict[str, Any], Told, str], dict[str, Any]]] = {
    "pane": Desk.on_pane,
    "kind": Desk.on_kind,
    "words": Desk.on_words,
    "page": Desk.on_page,
    "again": Desk.on_again,
    "search": Desk.on_search,
    "open": Desk.on_open,
    "back": Desk.on_back,
    "create": Desk.on_create,
    "rename": Desk.on_rename,
    "show": Desk.on_show,
    "delete": Desk.on_delete,
    "plan": Desk.on_plan,
    "download": Desk.on_download,
    "stop": Desk.on_stop,
    "resume": Desk.on_resume,
    "forget": Desk.on_forget,
    "cache-plan": Desk.on_cache_plan,
    "cache-delete": Desk.on_cache_delete,
    "free": Desk.on_free,
    "upgrade": Desk.on_upgrade,
    "keep": Desk.on_keep,
    "keep-no-more": Desk.on_keep_no_more,
    "secret-put": Desk.on_secret_put,
    "secret-give": Desk.on_secret_give,
    "secret-delete": Desk.on_secret_delete,
}
