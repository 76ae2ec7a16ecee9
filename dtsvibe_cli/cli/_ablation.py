"""Options of ``dtsvibe evaluate --ablation``, each a keyword of ``run_ablation``."""

from pathlib import Path
from typing import Final

import click

_FOLDER = click.Path(path_type=Path, file_okay=False)

ABLATION: Final = (
    click.option(
        "--ablation",
        is_flag=True,
        help="Train the paper's Tables 2 and 3 on the motion capture in DATASET (GRU or"
        " transformer encoder, HMR's or transformer regressor, without flow, with it, with the flow"
        " loss), all rows alike, and measure them on what is held out. From --steps to --workers:"
        " its options.",
    ),
    click.option(
        "--steps",
        type=click.IntRange(min=2),
        metavar="N",
        help="Train each row for so many steps.  [default: 1000, or those of --config]",
    ),
    click.option(
        "--config",
        metavar="NAME|FILE",
        help="What the whole network is and how it is trained: lite (the default), or a TOML file"
        " as `dtsvibe train` takes it.",
    ),
    click.option(
        "--width",
        type=click.IntRange(min=1),
        metavar="N",
        help="Make all networks narrower, to save time: lite has 512.",
    ),
    click.option(
        "--seeds",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help="Train everything so often, to see what is chance.",
    ),
    click.option(
        "--data",
        type=_FOLDER,
        multiple=True,
        metavar="DIR",
        help="Train on these prepared sequences as well (`dtsvibe prepare`). May be given again.",
    ),
    click.option(
        "--clips",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Run each row on these synthetic clips as well, without refinement.",
    ),
    click.option(
        "--resume",
        is_flag=True,
        help="Go on with the ablation in --out; rows that are finished are not trained again.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=0),
        default=1,
        show_default=True,
        metavar="N",
        help="Processes that draw batches beside the training.",
    ),
)

ABLATION_KEYWORDS: Final = (
    "steps", "config", "width", "seeds", "data", "clips", "resume", "workers",
)  # fmt: skip
"""Of ``run_ablation``, apart from those that other evaluations have too."""
