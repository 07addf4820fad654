"""What the cache of this machine holds: sizes, last use, what is left over, what deleting would free, and what fits."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from backend.door import door
from backend.errors import NoRoom, NotFound
from backend.settings import Settings

LEFT_OVER = "left over"  # the name under which what nothing needs is deleted
SPARE = 1_000_000_000  # bytes of the disk that downloads leave free


class Cache:
    """The folder of `HF_HUB_CACHE`. `keeps` raises unless the one who asks looks after this machine."""

    def __init__(self, settings: Settings, keeps: Callable[[str], None]) -> None:
        self._settings = settings
        self._keeps = keeps

    @property
    def folder(self) -> Path:
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE)

    @door
    def look(self, owner: str) -> dict[str, Any]:
        """{folder, bytes, free, limit, repositories: [{kind, name, bytes, files, used, revisions}], left_over}.

        Largest first; `used` is when it was last read; a revision is {commit, refs, bytes}, and one without refs has
        been replaced. `left_over` is {bytes, files}: replaced revisions, unfinished downloads and files that nothing
        names. `limit` is the bytes that the cache may take, 0 for none set. Raises NotYours.
        """
        self._keeps(owner)
        found = self._scan()
        repositories = [
            {
                "kind": repo.repo_type,
                "name": repo.repo_id,
                "bytes": repo.size_on_disk,
                "files": repo.nb_files,
                "used": repo.last_accessed,
                "revisions": [
                    {"commit": one.commit_hash, "refs": sorted(one.refs), "bytes": one.size_on_disk}
                    for one in sorted(repo.revisions, key=lambda one: -one.last_modified)
                ],
            }
            for repo in (found.repos if found else ())
        ]
        files = self._orphans()
        replaced = found.delete_revisions(*_replaced(found)).expected_freed_size if found else 0
        return {
            "folder": str(self.folder),
            "bytes": sum(one["bytes"] for one in repositories),
            "free": self._disk(),
            "limit": int(self._settings.cache_limit * 1e9),
            "repositories": sorted(repositories, key=lambda one: -int(str(one["bytes"]))),
            "left_over": {
                "bytes": replaced + sum(size for _, size in files),
                "files": len(files) + (len(_replaced(found)) if found else 0),
            },
        }

    @door
    def plan(self, owner: str, names: Sequence[str]) -> dict[str, Any]:
        """What deleting would free: {bytes, names}; nothing is deleted. A name is KIND/OWNER/NAME, or LEFT_OVER."""
        self._keeps(owner)
        strategy, files = self._chosen(names)
        freed = (strategy.expected_freed_size if strategy else 0) + sum(size for _, size in files)
        return {"bytes": freed, "names": list(names)}

    @door
    def delete(self, owner: str, names: Sequence[str]) -> int:
        """Delete them, and give the bytes that were freed. Raises NotFound for what isn't there, NotYours."""
        self._keeps(owner)
        strategy, files = self._chosen(names)
        freed = 0
        if strategy:
            freed += int(strategy.expected_freed_size)
            strategy.execute()
        for path, size in files:
            path.unlink(missing_ok=True)
            freed += size
        return freed

    def room(self, need: int) -> dict[str, Any]:
        """Whether `need` more bytes fit: {fits, free, limit, held}; the disk keeps a reserve, the cache its limit."""
        held = sum(repo.size_on_disk for repo in found.repos) if (found := self._scan()) else 0
        limit = int(self._settings.cache_limit * 1e9)
        free = max(0, self._disk() - SPARE)
        if limit:
            free = min(free, max(0, limit - held))
        return {"fits": need <= free, "free": free, "limit": limit, "held": held}

    def check(self, name: str, need: int) -> None:
        """Raises NoRoom where `need` bytes of `name` would not fit."""
        told = self.room(need)
        if not told["fits"]:
            why = f" (the cache may take {told['limit'] / 1e9:g} GB)" if told["limit"] else ""
            raise NoRoom(
                f"{name} needs {need / 1e9:.2f} GB more and {told['free'] / 1e9:.2f} GB are left{why}.",
                "Delete something from the cache first.",
                "no_room.cache",
            )

    # -- below --------------------------------------------------------------------------------------------------

    def _disk(self) -> int:
        folder = self.folder
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def _scan(self) -> Any:
        from huggingface_hub import scan_cache_dir
        from huggingface_hub.errors import CacheNotFound

        try:
            return scan_cache_dir(self.folder)
        except CacheNotFound:
            return None

    def _orphans(self) -> list[tuple[Path, int]]:
        """Unfinished downloads that nobody writes to any more, and blobs that no snapshot names."""
        found = []
        for repo in self.folder.glob("*--*"):
            named = {path.resolve() for path in repo.glob("snapshots/**/*") if path.is_symlink()}
            for path in repo.glob("blobs/*"):
                with contextlib.suppress(FileNotFoundError):  # a download may end while we look
                    if path.is_file() and path.resolve() not in named:
                        found.append((path, path.stat().st_size))
        return found

    def _chosen(self, names: Sequence[str]) -> tuple[Any, list[tuple[Path, int]]]:
        """(the library's strategy of deletion or None, files besides)."""
        found, hashes, files = self._scan(), set[str](), list[tuple[Path, int]]()
        held = {f"{repo.repo_type}/{repo.repo_id}": repo for repo in (found.repos if found else ())}
        for name in names:
            if name == LEFT_OVER:
                hashes |= set(_replaced(found)) if found else set()
                files = self._orphans()
            elif name in held:
                hashes |= {one.commit_hash for one in held[name].revisions}
            else:
                raise NotFound(f"The cache holds no {name[:120]}.", "Look again: it may be gone already.")
        return (found.delete_revisions(*hashes) if hashes else None), files


def _replaced(found: Any) -> list[str]:
    """Revisions that no branch or tag names any more, where the repository has another one that is."""
    return [
        one.commit_hash
        for repo in found.repos
        if any(other.refs for other in repo.revisions)
        for one in repo.revisions
        if not one.refs
    ]
