"""A home: the folder in which one Remit keeps its store, its keys and what it says while it runs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from remit.core.errors import NotFound, StoreUnavailable

RESTORE: Final = "Restore it from your copy of the home."


@dataclass(frozen=True, slots=True)
class Home:
    """Where things stand in a home. Everything in it is for its owner only."""

    path: Path

    @property
    def store(self) -> Path:
        """The SQLite file."""
        return self.path / "remit.db"

    @property
    def keys(self) -> Path:
        """The folder of keys."""
        return self.path / "keys"

    @property
    def person_key(self) -> Path:
        """The local person key that ``init`` made."""
        return self.keys / "person.key"

    @property
    def log_key(self) -> Path:
        """The public key of the log, in C2SP verifier form."""
        return self.keys / "log.vkey"

    @property
    def policies(self) -> Path:
        """Operators' policies as files."""
        return self.path / "policies"

    @property
    def run(self) -> Path:
        """What is true only while something runs."""
        return self.path / "run"

    @property
    def subjects(self) -> Path:
        """Keys per person under which their values in the log are sealed."""
        return self.path / "subjects"

    def identity(self) -> dict[str, str]:
        """What ``init`` fixed: issuer and origin. Raises ``NotFound`` when this is no home."""
        try:
            found = json.loads((self.path / "home.json").read_text(encoding="utf-8"))
            identity = {name: found[name] for name in ("issuer", "origin")}
        except FileNotFoundError as error:
            raise NotFound(f"{self.path} is not a Remit home", hint="Make one with `remit init`.") from error
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreUnavailable(f"{self.path}/home.json can't be read", hint=RESTORE) from error
        if not all(isinstance(value, str) for value in identity.values()):
            raise StoreUnavailable(f"{self.path}/home.json can't be read", hint=RESTORE)
        return identity
