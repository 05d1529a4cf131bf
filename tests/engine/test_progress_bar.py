"""The bar of a training on a terminal, which is a pseudo terminal here, and what is left of it afterwards."""

import fcntl
import logging
import os
import pty
import re
import signal
import struct
import sys
import termios
import threading
from contextlib import contextmanager
from fractions import Fraction

import pytest
import torch
from detectron2.engine.hooks import LRScheduler
from detectron2.evaluation import DatasetEvaluator
from torch import nn

from focalnet_d2.engine.evaluation_loop import run_evaluation
from focalnet_d2.engine.hooks import Evaluation
from focalnet_d2.engine.progress import StepTimer, TrainingBar
from focalnet_d2.engine.progress_bar import progress_bar
from focalnet_d2.engine.trainer import Trainer
from focalnet_d2.utils.stop_signals import RunStopped

BAR = re.compile(r" *\d+%\|")


class Terminal:
    """What a user sees of a text: lines with carriage returns, cursor movements up, and nothing else."""

    def __init__(self, text: str) -> None:
        self.lines, self.row, column = [""], 0, 0
        for piece in re.findall(r"\x1b\[A|\r|\n|[^\x1b\r\n]+|\x1b\[[0-9;]*m", text):
            if piece == "\n":
                self.row, column = self.row + 1, 0
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif piece == "\r":
                column = 0
            elif piece == "\x1b[A":
                self.row -= 1
            elif not piece.startswith("\x1b"):
                line = self.lines[self.row].ljust(column)
                self.lines[self.row] = line[:column] + piece + line[column + len(piece) :]
                column += len(piece)
        self.lines = [line.rstrip() for line in self.lines]


@contextmanager
def terminal(monkeypatch, columns=160):
    """Both outputs are a pseudo terminal inside; afterwards the dict has what was written as `text`."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    read, found = [], {}

    def drain():
        try:
            while block := os.read(master, 4096):
                read.append(block)
        except OSError:  # the other end is closed
            return

    reader = threading.Thread(target=drain)
    reader.start()
    with monkeypatch.context() as patch, os.fdopen(slave, "w", encoding="utf-8") as file:
        patch.setattr(sys, "stdout", file)
        patch.setattr(sys, "stderr", file)
        try:
            yield found
        finally:
            file.flush()
    reader.join()
    os.close(master)
    found["text"] = b"".join(read).decode()


@pytest.fixture
def log(tmp_path):
    """A logger to the terminal and a file, as that of a run is; the handlers are made when the terminal is there."""
    logger = logging.getLogger("a_run")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    file = logging.FileHandler(tmp_path / "log.txt")

    def begin():
        logger.handlers = [logging.StreamHandler(sys.stdout), file]
        return logger

    yield begin
    logger.handlers = []
    file.close()


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, batch):
        return {"loss_a": self.weight.square().sum()} if self.training else [{} for _ in batch]


def train(hooks, iterations=6, start=0):
    model = Toy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    trainer = Trainer(model, iter([[{}]] * iterations), optimizer, device=torch.device("cpu"))
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    bar = TrainingBar(Fraction(5, 2), batch=4)
    trainer.register_hooks([StepTimer(4), LRScheduler(optimizer, rates), bar, *[make(model) for make in hooks]])
    trainer.train(start, iterations)


class Logging(StepTimer):
    """Logs in each step, and does something in one of them."""

    def __init__(self, logger, act=lambda: None):
        self.logger, self.act = logger, act

    def before_train(self):
        pass

    before_step = after_train = before_train

    def after_step(self):
        self.logger.info("line %d", self.trainer.iter)
        if self.trainer.iter == 3:
            self.act()


def test_lines_stand_above_the_bar_and_the_file_has_no_bar(monkeypatch, log, tmp_path):
    with terminal(monkeypatch) as shown:
        logger = log()
        handlers = list(logger.handlers)
        train([lambda _: Logging(logger)])
        assert logger.handlers == handlers
        logger.info("afterwards")
    lines = Terminal(shown["text"]).lines
    assert lines[:6] == [f"line {number}" for number in range(6)]
    assert lines[7:] == ["afterwards", ""]
    words = r"100%\|█{10}\| 6/6, epoch 2.40/2.4, eta 0:00:00, loss 0.07812, lr 0.25, \S+ images/s, \d+\.\d GiB"
    assert re.fullmatch(words, lines[6]), lines[6]
    assert len(BAR.findall(shown["text"])) > 3  # it was shown while the steps went on
    assert (tmp_path / "log.txt").read_text().splitlines() == [*(f"line {number}" for number in range(6)), "afterwards"]


def test_a_bar_is_no_wider_than_the_terminal(monkeypatch, log):
    with terminal(monkeypatch, columns=40) as shown:
        train([])
    assert {len(line) for line in Terminal(shown["text"]).lines if BAR.match(line)} == {39}


def test_a_resumed_run_begins_where_it_stopped(monkeypatch):
    with terminal(monkeypatch) as shown:
        train([], start=3)
    assert re.search(r" 50%\|█{5} {5}\| 3/6", shown["text"])
    assert "0/6" not in shown["text"]


def test_without_a_terminal_there_is_nothing(capfd, log):
    logger = log()
    train([lambda _: Logging(logger)])
    assert capfd.readouterr() == ("".join(f"line {number}\n" for number in range(6)), "")


def test_one_output_that_is_no_terminal_is_enough(monkeypatch, tmp_path):
    with terminal(monkeypatch) as shown, open(tmp_path / "out.txt", "w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        train([])
    assert shown["text"] == ""
    assert (tmp_path / "out.txt").read_text() == ""


def test_another_process_than_the_main_one_shows_nothing(monkeypatch):
    monkeypatch.setattr("focalnet_d2.engine.progress_bar.comm.is_main_process", lambda: False)
    with terminal(monkeypatch) as shown, progress_bar(2) as bar:
        bar.update()
    assert shown["text"] == ""


def fail():
    raise RuntimeError("a fault")


@pytest.mark.parametrize(
    ("act", "error"), [(fail, RuntimeError), (lambda: signal.raise_signal(signal.SIGTERM), RunStopped)]
)
def test_an_error_and_a_signal_leave_the_terminal_whole(monkeypatch, log, act, error):
    with terminal(monkeypatch) as shown:
        logger = log()
        handlers = list(logger.handlers)
        with pytest.raises(error):
            train([lambda _: Logging(logger, act)])
        assert logger.handlers == handlers
        logger.info("afterwards")
        print("plain", flush=True)
    lines = Terminal(shown["text"]).lines
    assert lines[-3:] == ["afterwards", "plain", ""]
    assert BAR.match(lines[-4])


class Count(DatasetEvaluator):
    def __init__(self, logger):
        self.logger = logger

    def process(self, inputs, outputs):
        self.logger.info("an image")

    def evaluate(self):
        return {"bbox": {"AP": 1.0}}


def test_an_evaluation_has_a_bar_of_its_own_which_vanishes(monkeypatch, log):
    with terminal(monkeypatch) as shown:
        logger = log()

        def hook(model):
            return Evaluation(lambda: run_evaluation(model, [[{}], [{}]], Count(logger)), 3)

        train([hook, lambda _: Logging(logger)])
    lines = Terminal(shown["text"]).lines
    assert lines.count("an image") == 4
    assert [line for line in lines if BAR.match(line)] == lines[-4:-3]  # before the last evaluation
    assert "evaluation: 100%" in shown["text"]
    assert not any("evaluation" in line for line in lines)
