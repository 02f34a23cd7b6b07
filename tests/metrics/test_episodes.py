"""How far tasks get, by hand."""

from overlay.metrics.episodes import curve, progress, reached


def test_what_is_right_after_a_miss_does_not_count():
    tasks = [[True, True, False, True], [False, True], [True]]
    assert [reached(task) for task in tasks] == [2, 0, 1]
    assert progress(tasks) == [0.5, 0, 1]


def test_a_curve_falls_over_the_tasks_that_are_long_enough():
    """Three tasks have a first step, two a second, one a third."""
    tasks = [[True, True, False], [False, True], [True]]
    assert curve(tasks) == [(2 / 3, 3), (1 / 2, 2), (0, 1)]
    assert curve([]) == []
