from __future__ import annotations

from agents.runtime.container_log import LogFile


def test_what_a_full_disk_refuses_is_counted() -> None:
    log = LogFile("/dev/full")
    log.write(b"lost")
    log.close()
    assert log.lost_bytes == 4
