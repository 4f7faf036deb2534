"""A training from its first epoch to its last, or to the line that says why it ended before."""

from __future__ import annotations

from collections.abc import Callable

from ignite.engine import Engine

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.training.checkpoints import CheckpointHandler

__all__ = ["require_writable", "run_training"]


def require_writable(*folders: str) -> None:
    """Find out now, not after an epoch, whether a training can write to these folders; they are made if needed.

    Raises:
        InputError: When the system refuses. Names the folder.
    """
    for folder in folders:
        with atomic_path(f"{folder}/writable") as probe:
            probe.touch()
        (probe.parent / "writable").unlink(missing_ok=True)  # another process may have


def run_training(
    trainer: Engine, checkpoints: CheckpointHandler, on_interrupt: Callable[[CheckpointHandler], None] | None = None
) -> None:
    """Run a trainer; Ctrl-C says how to go on.

    Args:
        trainer: a MONAI trainer.
        checkpoints: the handler that saves what it trains.
        on_interrupt: called with them when it is interrupted, before the line is logged.

    Raises:
        KeyboardInterrupt: When it was interrupted. The message says what is saved, and how to go on.
        InputError: When a batch holds one value a channel, of which a batch norm has no variance.
    """
    try:
        trainer.run()
    except KeyboardInterrupt:
        if on_interrupt is not None:
            on_interrupt(checkpoints)
        raise KeyboardInterrupt(f"interrupted in epoch {trainer.state.epoch}; {checkpoints.advice()}") from None
    except ValueError as error:
        if "Expected more than 1 value per channel" not in str(error):
            raise
        raise InputError(
            "a batch of one case shrinks to a single voxel in the network, and a batch norm needs two; give "
            "--batch_size 2 or a larger --patch_size, or one more case where the last batch of an epoch is one."
        ) from error
