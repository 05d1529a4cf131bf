"""The first signal is a request, the second ends."""

import pickle
import signal
import subprocess
import sys

import pytest

from focalnet_d2.utils import stop_signals
from focalnet_d2.utils.stop_signals import EXIT_STATUS, RunStopped, StopSignals, requested, signal_name


@pytest.mark.parametrize("signum", EXIT_STATUS)
def test_the_first_signal_is_noted_and_handlers_return(signum):
    before = signal.getsignal(signum)
    with StopSignals() as signals:
        signal.raise_signal(signum)
        signal.raise_signal(signum)  # at once: the same request, of a terminal and of the process that started this one
        assert signals.received == signum
    assert signal.getsignal(signum) is before


def test_a_later_second_signal_does_what_it_would_have_done(monkeypatch):
    monkeypatch.setattr(stop_signals, "AS_ONE", -1.0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is born deaf to it
    try:
        with StopSignals() as signals:
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert signals.received == signal.SIGINT


def test_statuses_are_those_of_a_shell():
    assert EXIT_STATUS == {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 138}


@pytest.mark.parametrize("is_before", [False, True])
def test_signals_are_passed_on(is_before):
    """Also one that came before there was a process to pass it on to."""
    code = "import signal, sys; print(flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    with StopSignals():
        if is_before:
            signal.raise_signal(signal.SIGUSR1)
        with StopSignals(forward_to=[child.pid]) as signals:
            if not is_before:
                signal.raise_signal(signal.SIGUSR1)
            child.communicate()
            assert signals.received == requested() == signal.SIGUSR1
        assert requested() == signal.SIGUSR1
    assert child.returncode == -signal.SIGUSR1
    assert requested() == 0


def test_the_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(RunStopped(signal.SIGTERM, "Stopped.")))
    assert (str(error), error.exit_status) == ("Stopped.", 143)
    assert signal_name(signal.SIGINT) == "SIGINT"
