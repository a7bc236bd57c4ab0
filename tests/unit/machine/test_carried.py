"""What is raised in a thread is raised in the thread that waits for it, once and as it was."""

import threading

import pytest

from postgres_backup.machine.carried import Carried


def worker(carried: Carried, error: BaseException | None) -> None:
    def work() -> None:
        with carried:
            if error:
                raise error

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3)])
def test_the_error_of_a_thread_is_raised_where_somebody_waits(error):
    carried = Carried()
    worker(carried, error)
    assert carried.error is error
    with pytest.raises(type(error)) as caught:
        carried.check()
    assert caught.value is error
    assert caught.traceback[-1].name == "work"  # it still says where it happened


def test_nothing_is_raised_where_nothing_went_wrong():
    carried = Carried()
    worker(carried, None)
    carried.check()


def test_the_first_of_several_is_the_one_to_tell():
    carried = Carried()
    for text in ("first", "second"):
        worker(carried, ValueError(text))
    with pytest.raises(ValueError, match="first"):
        carried.check()
