"""A child for the tests of `child`."""

from __future__ import annotations

import os
import time
from typing import Any

from backend.errors import BadInput
from backend.tables import child


def answer(request: dict[str, Any], say: child.Say) -> Any:
    print("noise on standard output")
    match request["do"]:
        case "echo":
            say(1, 2)
            say(2, 2)
            return request["value"]
        case "refuse":
            raise BadInput("No.", "Ask otherwise.", "own.code")
        case "break":
            return 1 / 0
        case "eat":
            return len(bytearray(3 << 30))
        case "die":
            os.kill(os.getpid(), 9)
        case "sleep":
            time.sleep(60)
    return dict(os.environ)


if __name__ == "__main__":
    child.serve(answer)
