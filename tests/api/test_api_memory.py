"""Uploads that no worker could hold are refused at the door."""

from __future__ import annotations

import io

import numpy as np

from tests.api.talk import Talk


def test_an_image_of_few_voxels_and_many_channels_is_over_the_budget(talk: Talk) -> None:
    name = talk.dataset()
    body = io.BytesIO()
    np.save(body, np.zeros((200, 10, 20, 20), np.uint8))
    answer = talk.put(f"{name}/a/image", body.getvalue())
    assert answer.status_code == 413
    assert "4,000 voxels of 200 channels" in answer.json()["detail"]
    assert "MEMORY_BUDGET" in answer.json()["detail"]
