import os
import signal

import pytest

from search.processes.interrupts import Interrupts, SearchInterrupted


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_only_remembered(number: signal.Signals) -> None:
    interrupts = Interrupts()
    with interrupts.watch():
        send(number)
    assert interrupts.is_requested


def test_second_signal_ends_whatever_runs() -> None:
    interrupts = Interrupts()
    with interrupts.watch():
        send(signal.SIGINT)
        with pytest.raises(SearchInterrupted):
            send(signal.SIGINT)


def test_breakable_work_is_left_at_the_first_signal() -> None:
    interrupts = Interrupts()
    with interrupts.watch(), pytest.raises(SearchInterrupted), interrupts.breakable():
        send(signal.SIGINT)


def test_breakable_work_does_not_begin_after_a_signal() -> None:
    interrupts = Interrupts()
    with interrupts.watch():
        send(signal.SIGINT)
        with pytest.raises(SearchInterrupted), interrupts.breakable():
            pytest.fail("it began")


def test_handlers_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts().watch():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
