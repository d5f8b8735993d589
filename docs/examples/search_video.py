"""Search a video of an infrared camera for the people of an index of visible images.

python docs/examples/search_video.py VIDEO INDEX WEIGHTS THRESHOLD
"""

import sys
from datetime import timedelta

import cv2
import numpy as np

from torchreid_vi import FeatureExtractor
from torchreid_vi.retrieval.index import EmbeddingIndex

PER_SECOND = 1  # frames that are searched
background = cv2.createBackgroundSubtractorMOG2(detectShadows=False)


def boxes(frame):
    """Return (x, y, width, height) of whatever moves and is upright; a person detector goes in its place."""
    moving = cv2.medianBlur(background.apply(frame), 5)
    moving = cv2.morphologyEx(moving, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    outlines, _ = cv2.findContours(moving, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = map(cv2.boundingRect, outlines)
    return [(x, y, w, h) for x, y, w, h in found if h > frame.shape[0] / 6 and h > 1.5 * w]


def main(video, folder, weights, threshold):
    index, extractor = EmbeddingIndex.load(folder), FeatureExtractor(weights)
    if index.about["extractor"] != extractor.fingerprint:
        sys.exit(f"{folder} was built with other weights or settings: build it again")
    frames, number = cv2.VideoCapture(video), 0
    rate = frames.get(cv2.CAP_PROP_FPS)
    while (frame := frames.read()[1]) is not None:
        found = boxes(frame)  # of every frame, which the background is learnt from
        if found and number % round(rate / PER_SECOND) == 0:
            crops = [frame[y : y + h, x : x + w] for x, y, w, h in found]
            answers = index.search(extractor(crops, "infrared", bgr=True), k=1)
            for (x, y, w, h), [(similarity, item)] in zip(found, answers, strict=True):
                if similarity >= float(threshold):
                    time = timedelta(seconds=number // rate)
                    print(f"{time}  {similarity:.3f}  {item['path']}  at {x},{y} {w}x{h}", flush=True)
        number += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
