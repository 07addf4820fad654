"""`python -m backend.starter` fetches the embedded model; `--verify` reads it all and compares checksums."""

from __future__ import annotations

import sys

from backend.errors import LabError
from backend.starter.model import MODEL_ID, fetch, model_folder, verify


def main(arguments: list[str]) -> int:
    try:
        if arguments == ["--verify"]:
            bad = verify()
            print(f"{model_folder()}: {'not as fetched: ' + ', '.join(bad) if bad else 'whole'}")
            return 1 if bad else 0
        place = fetch(say=lambda text: print(text, flush=True))
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{MODEL_ID} is in {place}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
