"""The Hub of this machine for the tab that shows it."""

from tests.backend.hub.conftest import hub, lab_of

__all__ = ["hub", "lab_of"]
