"""Started by torchrun in a test: train a little; each process writes its weights' digest."""

import sys
from dataclasses import replace
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS), str(TESTS / "training")]

import torch  # noqa: E402
from recorded import bank, body, simulator  # noqa: E402

from dtsvibe_cli.models.config import TINY  # noqa: E402
from dtsvibe_cli.training import distributed, validation  # noqa: E402
from dtsvibe_cli.training.config import TrainConfig  # noqa: E402
from dtsvibe_cli.training.recipes import PAPER_LOSS  # noqa: E402
from dtsvibe_cli.training.trainer import Trainer, TrainingData  # noqa: E402

SHAPE = {"window": 4, "flow_side": 8}
CONFIG = TrainConfig(
    model=replace(TINY, **SHAPE, dropout=0.0),
    loss=PAPER_LOSS,
    discriminator_width=8,
    steps=2,
    batch_size=2,
    warmup_steps=0,
    gradient_clip=1e9,
    validate_every=1,
    precision="fp32",
)


def main(out: Path) -> None:
    validation.NUM_VALIDATION_BATCHES = 1
    torch.set_num_threads(1)
    with distributed.process_group("cpu"):
        data = TrainingData(train=simulator(**SHAPE), held_out=simulator(**SHAPE), recorded=bank())
        trainer = Trainer(CONFIG, out / "run", data, body=body(), workers=0)
        validations = len(list(trainer.run()))
        assert trainer.adversary is not None
        torch.save(
            {
                "network": trainer.network.state_dict(),
                "discriminator": trainer.adversary.discriminator.state_dict(),
                "validations": validations,
                "processes": distributed.num_processes(),
            },
            out / f"rank{distributed.rank()}.pt",
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
