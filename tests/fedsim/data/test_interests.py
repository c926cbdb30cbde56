from __future__ import annotations

import numpy as np

from fedsim.data.interests import clustered, normalised


def test_items_of_no_interest_share_a_column() -> None:
    flags = np.array([[True, True], [False, False], [False, True]])
    expected = [[0, 0, 0], [0.5, 0.5, 0], [0, 0, 1], [0, 1, 0]]
    assert normalised(flags).tolist() == expected


def test_items_of_the_same_users_are_one_cluster() -> None:
    # Users 0..19 like items 0..9, users 20..39 items 10..19.
    users, items = np.divmod(np.arange(400), 10)
    items = items + 10 * (users >= 20)
    label = clustered(users, items, 2, seed=0)[1:].argmax(axis=1)
    assert len(set(label[:10])) == 1
    assert len(set(label[10:])) == 1
    assert label[0] != label[10]


def test_there_are_never_more_clusters_than_items() -> None:
    assert clustered(np.array([0, 1, 2]), np.array([0, 1, 1]), 16, seed=0).shape == (3, 2)
