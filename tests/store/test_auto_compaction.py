from store.auto_compaction import AutoCompactor


def test_periodic_keeps_the_time_asked_for() -> None:
    compactor = AutoCompactor("periodic", 100.0)
    assert compactor.interval_s == 10.0
    targets = [compactor.target(now=10.0 * n, revision=100 + n) for n in range(13)]
    assert targets[:10] == [0] * 10
    assert targets[10:] == [100, 101, 102]


def test_revision_keeps_the_number_asked_for() -> None:
    compactor = AutoCompactor("revision", 50)
    assert compactor.target(now=0.0, revision=20) <= 0
    assert compactor.target(now=0.0, revision=120) == 70
