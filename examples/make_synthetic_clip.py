"""Make synthetic_walk.mp4 and its truth again: about two minutes, the same truth every time."""

from pathlib import Path

from dtsvibe_cli.synthetic.clip import make_clip

if __name__ == "__main__":
    for path in make_clip(Path(__file__).parent):
        print(path)
