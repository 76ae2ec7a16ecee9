"""The data of a run: simulated from recorded motion, prepared sequences, or a mixture of both."""

from collections.abc import Sequence
from pathlib import Path

from dtsvibe_cli.errors import ConfigError, DataError
from dtsvibe_cli.models.config import ModelConfig
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.training import distributed
from dtsvibe_cli.training.batches import BatchSource
from dtsvibe_cli.training.config import TrainConfig
from dtsvibe_cli.training.motion_bank import MotionBank, load_bank
from dtsvibe_cli.training.sequence_bank import SequenceBank
from dtsvibe_cli.training.sequences import read_sequence, sequence_files
from dtsvibe_cli.training.simulation import Simulator
from dtsvibe_cli.training.sources import Mixture
from dtsvibe_cli.training.trainer import TrainingData

MOTION = "motion"
"""What simulated motion is called in a mix."""

HELD_OUT_FOLDERS = frozenset({"test", "validation"})
HELD_OUT_EVERY = 20
"""Of a data set without one of these, every so many-th sequence is held out."""

ACKNOWLEDGEMENT = (
    "Motion from mocap.cs.cmu.edu. The database was created with funding from NSF EIA-0196217."
)


def open_data(
    config: TrainConfig,
    body: BodyModel,
    motion: Path | None,
    data: Sequence[Path],
    *,
    cache: Path | None = None,
) -> TrainingData:
    """Everything that a run draws from.

    Raises:
        ConfigError: There is nothing that this network can be trained on.
        DataError: A folder holds nothing, or nothing that fits the network.
    """
    bank = None
    if motion is not None:
        with distributed.first_goes_first():
            bank = load_bank(motion, body.joint_template.double().numpy(), cache)
    train: dict[str, BatchSource] = {}
    held_out: dict[str, BatchSource] = {}
    model = config.model
    if bank is not None and model.v_cnn == "blazepose":
        train[MOTION] = _simulator(bank.subset(held_out=False), body, model)
        held_out[MOTION] = _simulator(bank.subset(held_out=True), body, model)
    for name, files in _by_dataset(data).items():
        own, other = split_sequences(name, files)
        _check_fit(own[0], model)
        train[name] = SequenceBank(own, window=model.window)
        held_out[name] = SequenceBank(other, window=model.window)
    if not train and model.v_cnn != "blazepose":
        raise ConfigError(
            "A network that looks at pictures cannot be trained on motion alone: give --data DIR "
            "with sequences that were prepared for it."
        )
    if not train:
        raise ConfigError("There is nothing to train on: give --motion DIR, --data DIR, or both.")
    return TrainingData(
        train=Mixture(train, config.mix),
        held_out=Mixture(held_out, config.mix),
        recorded=None if bank is None else bank.subset(held_out=False),
    )


def _by_dataset(folders: Sequence[Path]) -> dict[str, list[tuple[Path, bool]]]:
    """Sequences of all folders by the name of their data set, and whether each is held out."""
    found: dict[str, list[tuple[Path, bool]]] = {}
    for folder in folders:
        for path in sequence_files(folder):
            apart = bool(HELD_OUT_FOLDERS & set(path.relative_to(folder).parts[:-1]))
            found.setdefault(read_sequence(path).dataset, []).append((path, apart))
    if MOTION in found:
        raise ConfigError(f"No data set can be called '{MOTION}': that is the motion of --motion.")
    return found


def split_sequences(
    dataset: str, files: Sequence[tuple[Path, bool]]
) -> tuple[list[Path], list[Path]]:
    """Files to train on, and files that are held out.

    Raises:
        DataError: One of the two would be empty.
    """
    paths = [path for path, _ in files]
    held_out = [path for path, apart in files if apart] or paths[::HELD_OUT_EVERY]
    train = [path for path in paths if path not in set(held_out)]
    if not train:
        raise DataError(
            f"{dataset} needs at least two sequences, one of them outside folders named "
            f"{' and '.join(sorted(HELD_OUT_FOLDERS))}: those are only validated on."
        )
    return train, held_out


def say_data(motion: Path | None, data: Sequence[Path]) -> str:
    """What a weights file says of its data."""
    parts = [] if motion is None else [ACKNOWLEDGEMENT]
    if data:
        parts.append(f"Prepared sequences of {', '.join(_by_dataset(data))}.")
    return " ".join(parts)


def _simulator(bank: MotionBank, body: BodyModel, model: ModelConfig) -> Simulator:
    return Simulator(bank, body, window=model.window, flow_side=model.flow_side)


def _check_fit(path: Path, model: ModelConfig) -> None:
    """Prepared with this network's appearance and flow?

    Raises:
        DataError: No.
    """
    sequence = read_sequence(path)
    pictures = sequence.appearance is not None
    if pictures != (model.v_cnn == "resnet50"):
        has, wants = ("pictures", "landmarks") if pictures else ("landmarks", "pictures")
        raise DataError(
            f"{path} holds the appearance of {has}, but {model.name} takes that of {wants}: "
            f"prepare the data for {model.name}."
        )
    side = sequence.flow.shape[-1]
    if model.o_cnn != "none" and side != model.flow_side:
        raise DataError(
            f"{path} holds flow of {side} cells, but {model.name} takes {model.flow_side}: "
            f"prepare the data for {model.name}, or set flow_side = {side} under [model]."
        )
