"""Pictures of ranked galleries: frames and captions."""

import numpy as np
from PIL import Image

from torchreid_vi.report.ranked import NEUTRAL, RIGHT, WRONG, Shown, ranked_picture


def test_frames_tell_matches_from_others():
    image = Image.new("RGB", (30, 70), "blue")
    answers = [Shown(image, "a", True), Shown(image, "b", False)]
    picture = ranked_picture([(Shown(image), answers), (Shown(image), [])], (20, 50))
    assert picture.size == (3 * 36 + 8, 2 * (50 + 8 + 16 + 8))
    pixels = np.asarray(picture).reshape(-1, 3)
    right, wrong, neutral = (np.all(pixels == colour, axis=1).sum() for colour in (RIGHT, WRONG, NEUTRAL))
    frame = 28 * 58 - 20 * 50
    assert right >= frame and wrong >= frame and 2 * frame <= neutral < 3 * frame
    assert (pixels == (0, 0, 255)).all(1).sum() == 4 * 20 * 50


def test_captions_name_files_by_the_end_of_their_names():
    def below(caption):
        picture = ranked_picture([(Shown(Image.new("RGB", (8, 8)), caption), [])], (96, 20))
        return np.asarray(picture)[20 + 8 :]

    assert below("0.71").shape[0] == 16 + 8 and below("0.71\n0061/0001.jpg").shape[0] == 2 * 16 + 8
    long = below("0.71\nperson_0001/0001.jpg")
    assert np.array_equal(long, below("0.71\n…n_0001/0001.jpg"))
    assert not np.array_equal(long, below("0.71\nperson_0001/0002.jpg"))
