"""The pictures to learn from: read from a dataset of any kind, each one checked, in the size that is trained on."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from backend.errors import BadData, BadInput
from backend.recipes import table
from backend.recipes.checking import Finding
from backend.recipes.params import check
from backend.recipes.reading import Wrong
from backend.starter import locate

if TYPE_CHECKING:
    from PIL.Image import Image

    from backend.recipes.image_params import ImageTrainParams
    from backend.tables.table import Table

LEAST_SIDE = 16  # pixels; from less nothing can be learned
PIXELS = 64_000_000  # of a picture that is opened
FEW, MANY = 3, 1_000  # pictures from which, and up to which, nothing is said of their number
LOOKED_AT = 200  # pictures that are checked before a run; the run checks all
_CHUNK = 16  # pictures read at a time
_THUMB = 112  # pixels
IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Picture:
    """A square picture in RGB, and what it shows in words; '' where nobody said."""

    image: Image
    caption: str


@dataclass
class Report:
    """What was found: pictures that can't be used, by rule; those that were changed; those that are there twice."""

    rows: int = 0
    good: int = 0
    wrong: dict[str, Finding] = field(default_factory=dict)
    changed: dict[str, Finding] = field(default_factory=dict)
    twice: Finding = field(default_factory=lambda: Finding("the same as an earlier picture"))

    def plain(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "good": self.good,
            "wrong": [one.plain() for one in self.wrong.values()],
            "changed": [one.plain() for one in self.changed.values()],
            "twice": self.twice.plain() if self.twice.count else None,
        }


def opened(dataset: str, folder: Path) -> Table:
    """The dataset as a table with a column of pictures. Raises BadData, NotFound, HubError."""
    found = table.open(check(table.TableParams, {"dataset": dataset}), folder)
    if not any(column.kind == "image" for column in found.columns):
        raise BadData(
            f"{Path(dataset).name!r} has no pictures; its columns are {', '.join(c.name for c in found.columns[:8])}.",
            "Upload pictures or a zip of them, or choose a dataset with an image column.",
            "data.no_pictures",
        )
    return found


def column_of(found: Table, name: str) -> str | None:
    """The column with captions; None where none is named. Raises BadInput for one that has no text."""
    if not name:
        return None
    texts = [column.name for column in found.columns if column.kind == "text"]
    if name not in texts:
        there = f"the columns with text are {', '.join(texts)}" if texts else "no column has text"
        raise BadInput(f"caption_column is {name!r}; {there}.", "Choose one of them, or leave it empty.")
    return name


def read(params: ImageTrainParams, folder: Path, side: int) -> tuple[list[Picture], Report]:
    """All pictures that are learned from, `side` pixels wide and high. Raises BadData by the rules of `params`."""
    found = opened(params.dataset, folder)
    report = Report()
    once = params.same_rows == "drop"
    pictures = list(checked(found, report, side, column_of(found, params.caption_column), params.max_rows, once))
    problem = trouble(report, params.bad_rows, params.same_rows)
    if problem:
        raise problem
    return pictures, report


def trouble(report: Report, bad_rows: str, same_rows: str) -> BadData | None:
    """What of it stops a run."""
    if report.wrong and bad_rows == "stop":
        one = next(iter(report.wrong.values()))
        many = sum(each.count for each in report.wrong.values())
        return BadData(
            f"{many} of {report.rows} pictures can't be used. {one.said}",
            "Mend them, or have such pictures left out (bad_rows: drop).",
            "data.wrong",
        )
    if report.twice.count and same_rows == "stop":
        numbers = ", ".join(map(str, report.twice.rows))
        return BadData(
            f"{report.twice.count} pictures are there twice: {numbers}.", "Have them left out (same_rows: drop).",
            "data.twice",
        )  # fmt: skip
    if not report.good:
        return BadData(
            "There is no picture to learn from." if not report.wrong else "No picture is left to learn from.",
            "Upload 5 to 20 pictures of one thing.",
            "data.no_pictures",
        )
    return None


def checked(
    found: Table, report: Report, side: int, captions: str | None = None, most: int = 0, once: bool = False
) -> Iterator[Picture]:
    """Each good picture; what is wrong, changed or there twice is noted in `report`."""
    from backend.tables.pages import whole

    name = next(column.name for column in found.columns if column.kind == "image")
    called = [column.name for column in found.columns if column.name == "file_name"]
    wanted = [name, *([captions] if captions else []), *(one for one in called if one != captions)]
    seen: set[bytes] = set()
    total = min(most, found.rows) if most else found.rows
    for start in range(0, total, _CHUNK):
        numbers = range(start, min(start + _CHUNK, total))
        for number, row in zip(numbers, whole(found, numbers, wanted), strict=True):
            told = dict(zip(wanted, row, strict=True))
            report.rows += 1
            try:
                image, changes = _opened((told[name] or {}).get("bytes"))
            except Wrong as wrong:
                which = f"Picture {number + 1}, {told[called[0]]}" if called else f"Picture {number + 1}"
                report.wrong.setdefault(wrong.rule, Finding(wrong.rule)).add(number + 1, f"{which}: {wrong.said}")
                continue
            if min(image.size) < side:
                changes.append(f"smaller than {side} pixels, so it is enlarged and stays unsharp")
            for change in changes:
                report.changed.setdefault(change, Finding(change)).add(number + 1)
            squared = square(image, side)
            mark = hashlib.blake2b(squared.tobytes(), digest_size=16).digest()
            if mark in seen:
                report.twice.add(number + 1)
                if once:
                    continue
            seen.add(mark)
            report.good += 1
            yield Picture(squared, str(told[captions] or "").strip() if captions else "")


def _opened(data: bytes | None) -> tuple[Image, list[str]]:
    """The picture in RGB, upright, and what was changed. Raises Wrong."""
    from PIL import Image, ImageOps

    if not data:
        raise Wrong("it is empty; leave it out.", "it is empty")
    try:
        with Image.open(io.BytesIO(data)) as file:
            image: Image.Image = file
            if image.width * image.height > PIXELS:
                raise Wrong(
                    f"it has {image.width}×{image.height} pixels; at most {PIXELS // 1_000_000} million are opened. "
                    "Make it smaller.",
                    "it is too large",
                )
            changes = _changes(image)
            if image.mode.startswith("I;16") or image.mode == "I":
                image = image.point(lambda value: value / 256).convert("L")
            image = ImageOps.exif_transpose(image)
            if "A" in image.getbands() or "transparency" in image.info:
                ground = Image.new("RGBA", image.size, "white")
                ground.alpha_composite(image.convert("RGBA"))
                image = ground
            made = image.convert("RGB")
    except Wrong:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Wrong("it can't be opened: it is broken. Save it again as PNG.", "it can't be opened") from error
    if min(made.size) < LEAST_SIDE:
        raise Wrong(
            f"it has {made.width}×{made.height} pixels; use at least {LEAST_SIDE}×{LEAST_SIDE}.", "it is too small"
        )
    return made, changes


def _changes(image: Image) -> list[str]:
    """What becomes of a picture that is not plain RGB."""
    said = []
    if getattr(image, "n_frames", 1) > 1:
        said.append("animated, so its first frame is taken")
    if image.mode == "CMYK":
        said.append("in CMYK, for print, so its colours become RGB")
    if image.mode.startswith("I"):
        said.append("in 16 bits, so it is brought to 8")
    if "A" in image.getbands() or "transparency" in image.info:
        said.append("transparent, so it is put on white")
    return said


def square(image: Image, side: int) -> Image:
    """Its middle, `side` pixels wide and high."""
    from PIL import Image as pillow
    from PIL import ImageOps

    return ImageOps.fit(image, (side, side), pillow.Resampling.LANCZOS)


def look(dataset: str, folder: Path, bad_rows: str = "stop", same_rows: str = "keep") -> dict[str, Any]:
    """What Tune shows: {columns, captions, total, thumbs, notes, report, problem}; the first pictures are checked.

    `thumbs` are WebP in bytes, `captions` the columns with text. Raises BadData, NotFound, HubError.
    """
    found = opened(dataset, folder)
    report = Report()
    thumbs: list[bytes] = []
    for picture in checked(found, report, _THUMB, most=LOOKED_AT):
        if len(thumbs) < 24:
            thumbs.append(webp(picture.image, _THUMB))
    report.changed = {rule: one for rule, one in report.changed.items() if "smaller than" not in rule}
    problem = trouble(report, bad_rows, same_rows)
    notes = list(found.notes)
    if found.rows > LOOKED_AT:
        notes.append(f"The first {LOOKED_AT} pictures were checked; the run checks all {found.rows:,}.")
    return {
        "columns": [column.name for column in found.columns],
        "captions": [column.name for column in found.columns if column.kind == "text" and column.name != "file_name"],
        "total": found.rows,
        "thumbs": thumbs,
        "notes": notes + number(found.rows),
        "report": report.plain(),
        "problem": problem and {"code": problem.code, "message": problem.message, "hint": problem.hint},
    }


def fits(place: str) -> bool:
    """Whether a file of this machine holds pictures, as far as it tells at a glance."""
    path = Path(locate(place))
    if zipfile.is_zipfile(path) and path.suffix == ".zip":
        with zipfile.ZipFile(path) as packed:
            return any(PurePosixPath(name).suffix.lower() in IMAGES for name in packed.namelist())
    if path.suffix == ".parquet" and path.is_file():
        import pyarrow.parquet as pq

        return any(set(kind.names) >= {"bytes", "path"} for kind in _structs(pq.read_schema(path)))
    return path.is_dir() and any(one.suffix.lower() in IMAGES for one in path.rglob("*"))


def _structs(schema: Any) -> list[Any]:
    """The kinds of the columns that have parts."""
    import pyarrow

    return [field.type for field in schema if pyarrow.types.is_struct(field.type)]


def number(many: int) -> list[str]:
    """What is to be said about so many pictures."""
    if many == 1:
        return ["One picture teaches the model that picture and no more: 5 to 20, from several sides, work better."]
    if many < FEW:
        return [f"{many} pictures are few: 5 to 20, from several sides, work better."]
    if many > MANY:
        return [
            f"{many:,} pictures: every one is read and encoded before the first step, and the usual number of steps "
            "sees only a few of them. For one thing 5 to 20 do; for a style raise the steps."
        ]
    return []


def webp(image: Image, side: int, quality: int = 80) -> bytes:
    """The picture, at most `side` pixels wide and high."""
    small, out = image.copy(), io.BytesIO()
    small.thumbnail((side, side))
    small.save(out, "WEBP", quality=quality)
    return out.getvalue()


def pictures(files: Sequence[Path]) -> bool:
    """Whether they are pictures by their names."""
    return bool(files) and all(file.suffix.lower() in IMAGES for file in files)


def packed(files: Sequence[Path], place: Path) -> Path:
    """Several pictures as one zip at `place`; files of the same name keep apart. A zip alone stays as it is."""
    if len(files) == 1 and zipfile.is_zipfile(files[0]):
        return files[0]
    with zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as out:
        names: set[str] = set()
        for at, file in enumerate(files):
            name = file.name if file.name not in names else f"{file.stem}-{at}{file.suffix}"
            names.add(name)
            out.write(file, name)
    return place
