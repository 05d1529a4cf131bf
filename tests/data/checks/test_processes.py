"""Chunks of work in processes: in order, few at a time, and a process that dies takes one piece of work with it."""

import os

import pytest

from focalnet_d2.data.checks.processes import Crew


def double(chunk):
    return [2 * piece for piece in chunk]


def die_at_seven(chunk):
    if 7 in chunk:
        os._exit(1)
    return double(chunk)


def refuse(chunk):
    raise ValueError(f"{chunk} is refused.")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    chunks = [[place, -place] for place in range(20)]
    with Crew(double, workers) as crew:
        assert list(crew.map(chunks)) == [(chunk, double(chunk)) for chunk in chunks]
        assert list(crew.map([[5]])) == [([5], [10])]


def test_few_chunks_are_on_their_way():
    """What has been asked for runs at most four chunks a process ahead of what has come."""
    asked = []

    def chunks():
        for place in range(30):
            asked.append(place)
            yield [place]

    with Crew(double, 2) as crew:
        ahead = [len(asked) - 1 - chunk[0] for chunk, _ in crew.map(chunks())]
    assert max(ahead) <= 8


def test_a_process_that_dies_takes_one_piece_with_it():
    chunks = [[3 * place, 3 * place + 1, 3 * place + 2] for place in range(8)]
    with Crew(die_at_seven, 2) as crew:
        done = list(crew.map(chunks))
    pieces = {piece: result for chunk, result in done for piece in chunk}
    assert list(pieces) == list(range(24))
    assert [piece for piece, result in pieces.items() if result is None] == [7]
    assert all(result is None or result == double(chunk) for chunk, result in done)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_ends_the_work(workers):
    with Crew(refuse, workers) as crew, pytest.raises(ValueError, match=r"\[0\] is refused"):
        list(crew.map([[place] for place in range(20)]))
