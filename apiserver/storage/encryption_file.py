"""The file of --encryption-provider-config: read at the start, and again when it has changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from apiserver.storage.ciphers import Random
from apiserver.storage.encryption_config import Encryption, EncryptionConfigError, parse
from kubraft.log import get_logger

FLAG: Final = "--encryption-provider-config"
POLL_S: Final = 2.0

_log = get_logger("apiserver.storage")


class EncryptionFile:
    """Knows what the file held when it was last good."""

    def __init__(self, path: Path, random: Random = os.urandom) -> None:
        self._path = path
        self._random = random
        self._text = ""

    def read(self) -> Encryption:
        """What the file says.

        Raises:
            ValueError: it cannot be read or used; the message names flag, file and field.
        """
        try:
            self._text = self._path.read_text()
            return parse(self._text, self._random)
        except OSError as error:
            raise ValueError(f"{FLAG} {self._path}: {error.strerror}") from error
        except EncryptionConfigError as error:
            raise ValueError(f"{FLAG} {self._path}: {error}") from error
        except UnicodeDecodeError:
            raise ValueError(f"{FLAG} {self._path}: not UTF-8") from None

    def changed(self) -> Encryption | None:
        """As `read`, but None where the file is as it was."""
        before = self._text
        try:
            if self._path.read_text() == before:
                return None
        except (OSError, UnicodeDecodeError):
            self._text = ""
        return self.read()

    async def follow(self, use: Callable[[Encryption], None], poll_s: float = POLL_S) -> None:
        """Call `use` after each change, until cancelled. A file that is wrong changes nothing."""
        said = ""
        while True:
            await asyncio.sleep(poll_s)
            try:
                encryption = self.changed()
            except ValueError as error:
                if str(error) != said:
                    _log.error("encryption_config_refused", error=str(error))
                said = str(error)
            else:
                if encryption is not None:
                    use(encryption)
                    said = ""
                    _log.info("encryption_config_reloaded", file=str(self._path))
