"""What a member's log says of alarms: which one is on, whose it is, and when it is off again."""

from __future__ import annotations

from typing import NoReturn

from kubraft.log import get_logger
from kubraft.pb.etcdserverpb.rpc_pb2 import AlarmType
from store.beat import next_beat
from store.rpc.service import MemberServices

log = get_logger("store.alarm_log")

_POLL_S = 0.5


async def keep_alarm_log(services: MemberServices) -> NoReturn:
    """Log the changes until cancelled; an alarm that a restart finds on is one."""
    told: set[tuple[int, int]] = set()
    while True:
        found = {(int(alarm.alarm), alarm.memberID) for alarm in services.machine.alarms.get()}
        for kind, member in sorted(found ^ told):
            name = services.names.get(member, f"{member:x}")
            tell = log.warning if (kind, member) in found else log.info
            event = "alarm on" if (kind, member) in found else "alarm off"
            tell(event, alarm=AlarmType.Name(AlarmType.ValueType(kind)), member=name)
        told = found
        await next_beat(_POLL_S)
