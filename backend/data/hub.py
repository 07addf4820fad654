"""What the Hub has of datasets: search, a card, revisions; asked with the visitor's own sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backend.data.opened import FIRST, Opened, hub_only
from backend.data.source import Source
from backend.door import door
from backend.errors import Gated, LabError, NotFound
from backend.recipes.loading import hub_errors
from backend.recipes.part import Part

if TYPE_CHECKING:
    from backend.tables.hub import Listing

FOUND = 30
CARD = 60_000  # characters of a card that are shown
TASKS = (
    "text-generation", "question-answering", "summarization", "translation", "text-classification",
    "token-classification", "zero-shot-classification", "fill-mask", "feature-extraction", "image-classification",
    "text-to-image", "image-to-text", "automatic-speech-recognition", "audio-classification", "tabular-classification",
)  # fmt: skip
LANGUAGES = ("en", "zh", "es", "fr", "de", "ru", "ar", "hi", "pt", "ja", "ko", "it", "tr", "nl", "vi", "id", "pl", "fa")
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")
LICENCES = (
    "apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "openrail", "odc-by", "other"
)  # fmt: skip


class Hub:
    """Every answer is of this moment; nothing is kept."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    @door
    def search(
        self,
        source: Source,
        words: str = "",
        task: str = "",
        language: str = "",
        size: str = "",
        licence: str = "",
    ) -> list[dict[str, Any]]:
        """[{name, downloads, likes, updated, gated, private, tags}], most downloaded first. Raises HubError."""
        token = self._opened.token(source)
        api = self._opened.catalog.ask_hub("the search")
        with hub_errors("the search"):
            found = api.list_datasets(
                search=words.strip() or None,
                filter=[f"license:{licence}"] if licence else None,
                task_categories=task or None,
                language=language or None,
                size_categories=size or None,
                sort="downloads",
                limit=FOUND,
                token=token or False,
            )
            return [
                {
                    "name": one.id,
                    "downloads": one.downloads or 0,
                    "likes": one.likes or 0,
                    "updated": one.last_modified.date().isoformat() if one.last_modified else "",
                    "gated": bool(one.gated),
                    "private": bool(one.private),
                    "tags": [tag for tag in one.tags or [] if tag.startswith(("license:", "size_categories:"))],
                }
                for one in found
            ]

    @door
    def splits(self, source: Source) -> tuple[dict[str, list[str]], tuple[str, str]]:
        """{config: [split]} of a Hub dataset, empty for a file, which is one table; and which config and split it is.

        Raises NotFound, HubError.
        """
        if self._opened.local(source):
            return {}, ("", "")
        there = self._listing(source)
        return there.splits(), there.pick(source.dataset, source.config, source.split)

    @door
    def named(self, source: Source) -> str:
        """The name under which a run reads the same rows; of a Hub dataset it tells the part that is not the usual."""
        if self._opened.local(source):
            return source.dataset or FIRST
        config, split = self._listing(source).pick(source.dataset, source.config, source.split)
        config = "" if config == "default" else config
        return str(Part(source.dataset, config, split if config or split != "train" else "", source.revision))

    def open_to_all(self, source: Source) -> bool:
        """Whether a run on this server can read it: on one of one's own a run has the machine's sign-in."""
        opened = self._opened
        if opened.local(source) or not (opened.settings.public and source.token):
            return True
        try:
            with hub_errors(name := hub_only(source)):
                opened.catalog.ask_hub(name).auth_check(name, repo_type="dataset", token=False)
        except (Gated, NotFound):
            return False
        return True

    def _listing(self, source: Source) -> Listing:
        """What the Hub has of it, or the cache of a machine of one's own."""
        from backend.tables import hub

        name = hub_only(source)
        try:
            self._opened.catalog.ask_hub(name)
            return hub.listing(name, source.revision, self._opened.token(source))
        except LabError:
            there = None if self._opened.settings.public else hub.cached(name, source.revision)
            if there is None:
                raise
            return there[1]

    @door
    def revisions(self, source: Source) -> list[tuple[str, str]]:
        """(name, commit) of its branches, then its tags, then its latest commits. Raises NotFound, Gated, HubError."""
        name, token = hub_only(source), self._opened.token(source) or False
        api = self._opened.catalog.ask_hub(name)
        with hub_errors(name):
            refs = api.list_repo_refs(name, repo_type="dataset", token=token)
            commits = api.list_repo_commits(name, repo_type="dataset", token=token)
        named = [(ref.name, ref.target_commit) for ref in (*refs.branches, *refs.tags)]
        return named + [(f"{one.title[:60]} ({one.created_at.date()})", one.commit_id) for one in commits[:20]]

    @door
    def card(self, source: Source) -> str:
        """Its README, without the block of settings at its top; '' when it has none. Raises NotFound, HubError."""
        from backend.tables import hub

        name = hub_only(source)
        self._opened.catalog.ask_hub(name)
        with hub_errors(name):
            return hub.card(name, source.revision, self._opened.token(source), CARD)
