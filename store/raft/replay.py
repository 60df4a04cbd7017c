"""Where a member goes on from when log and state come together again. Pure."""

from __future__ import annotations

from store.raft.engine import EngineError, StateMachine
from store.raft.log import Log


def replay_start(log: Log, state_machine: StateMachine) -> int:
    """The index behind which to apply, from what the state machine says it has.

    Raises:
        EngineError: state and log do not fit together.
    """
    index, term = state_machine.durable_index()
    if index <= log.base.index:
        if index < log.base.index and log.base.index > 1:
            raise EngineError(
                f"the state ends at index {index}, but the write-ahead log starts behind "
                f"{log.base.index}"
            )
        return log.base.index
    entry = log.find(index)
    if entry is None:
        raise EngineError(
            f"the write-ahead log ends at index {log.last_index}, but the state has {index}: "
            "acknowledged entries were cut off"
        )
    if entry.term != term:
        raise EngineError(
            f"entry {index} is of term {entry.term} in the write-ahead log, of {term} in the state"
        )
    return int(index)
