"""Write a video in which synthetic people walk past an infrared camera, one after the other.

python docs/examples/synthetic_video.py VIDEO FOLDER [FOLDER ...]

A folder has the infrared images of one person. Two seconds of nobody come before the four of each person.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

RATE, WIDTH, HEIGHT = 10, 640, 360  # frames per second, and pixels
rng = np.random.default_rng(0)


def empty():
    """Return a frame with nobody: dark, with the noise of a camera."""
    return rng.normal(30, 3, (HEIGHT, WIDTH, 1)).clip(0, 255).astype(np.uint8).repeat(3, axis=2)


def main(video, *folders):
    out = cv2.VideoWriter(video, cv2.VideoWriter_fourcc(*"mp4v"), RATE, (WIDTH, HEIGHT))
    for folder in folders:
        images = [cv2.imread(str(path)) for path in sorted(Path(folder).glob("*.jpg"))]
        for _ in range(2 * RATE):
            out.write(empty())
        for step in range(4 * RATE):
            frame, left = empty(), 20 + 12 * step
            frame[80:320, left : left + 96] = cv2.resize(images[step // RATE % len(images)], (96, 240))
            out.write(frame)
    out.release()


if __name__ == "__main__":
    main(*sys.argv[1:])
