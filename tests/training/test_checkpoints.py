"""What a resumption takes over and refuses, and which epochs count as validated."""

import errno
import functools
import math

import pytest
import torch
from ignite.engine import Engine, Events
from monai.optimizers import WarmupCosineSchedule

from ulite_monai.errors import InputError
from ulite_monai.training import AveragedWeights, CheckpointHandler, require_writable, run_training

STEPS = 10  # an epoch


class Run:
    """A trainer of one weight, whose validation's Dice is given epoch by epoch; None where there is none."""

    def __init__(self, folder, epochs, dice=None, patience=0, computed_by=None):
        self.network = torch.nn.Linear(1, 1)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.5)
        self.scheduler = WarmupCosineSchedule(self.optimizer, warmup_steps=1, t_total=epochs * STEPS)
        average = AveragedWeights(self.network, 0.1)
        self.evaluator = Engine(lambda engine, batch: None)
        self.evaluator.state.metrics = {"dice": 0.0}
        self.evaluator.state.key_metric_name = "dice"
        self.evaluator.state.epoch = 0
        self.rates = []
        self.dice = dice or []
        self.trainer = Engine(self.step)
        self.trainer.state.max_epochs, self.trainer.state.epoch_length = epochs, STEPS
        self.checkpoints = CheckpointHandler(
            *(folder, self.network, average, self.optimizer, self.scheduler, self.evaluator, patience, computed_by)
        )
        average.attach(self.trainer)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.validate)
        self.checkpoints.attach(self.trainer)

    def step(self, engine, batch):
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        self.optimizer.step()
        self.scheduler.step()

    def validate(self, engine):
        value = self.dice[engine.state.epoch - 1] if self.dice else 0.5
        if value is not None:
            state = self.evaluator.state
            state.epoch = engine.state.epoch
            state.metrics["dice"] = value

    def run(self, until=None):
        if until is not None:
            self.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=until), lambda engine: engine.terminate())
        self.trainer.run([None] * STEPS, max_epochs=self.trainer.state.max_epochs)
        return self


def test_a_resumed_schedule_goes_on_as_if_it_had_run_through(tmp_path):
    through = Run(tmp_path / "through", 4).run()
    Run(tmp_path / "run", 4).run(until=2)
    resumed = Run(tmp_path / "run", 4)
    resumed.checkpoints.resume()
    assert resumed.run().rates == through.rates[2 * STEPS :]


def test_more_epochs_lengthen_the_schedule(tmp_path):
    Run(tmp_path, 2).run()
    longer = Run(tmp_path, 4)
    longer.checkpoints.resume()
    longer.run()
    assert longer.rates == Run(tmp_path / "other", 4).run().rates[2 * STEPS :]
    assert longer.rates[0] > 0.2 and longer.rates[-1] < 0.01 and longer.rates == sorted(longer.rates, reverse=True)


def test_what_changes_the_last_bits_is_allowed_and_noted(tmp_path, caplog):
    computed_by = {"threads": 2, "num_workers": 0, "device": torch.device("cpu")}
    Run(tmp_path, 2, computed_by=computed_by).run(until=1)
    Run(tmp_path, 2, computed_by=computed_by | {"device": "cpu"}).checkpoints.resume()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    Run(tmp_path, 2, computed_by=computed_by | {"threads": 1, "num_workers": 3}).checkpoints.resume()
    assert "threads was 2, now 1; num_workers was 0, now 3: the weights won't be those" in caplog.text


@pytest.mark.parametrize("failing", [1, 2])
def test_a_full_disk_leaves_both_files_as_they_were(tmp_path, monkeypatch, failing):
    """Neither a model.pt without the last.ckpt to resume from, nor one of another epoch."""
    Run(tmp_path, 2, dice=[0.5, 0.6]).run(until=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    resumed, save, calls = Run(tmp_path, 2, dice=[0.5, 0.6]), torch.save, []
    resumed.checkpoints.resume()

    def fill_the_disk(state, file):
        save(state, file)
        calls.append(file)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", fill_the_disk)
    with pytest.raises(InputError, match=r"(model\.pt|last\.ckpt): can't be written: No space left on device"):
        resumed.run()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before and before.keys() == {
        "model.pt",
        "last.ckpt",
    }


def test_a_run_replaces_no_other_unless_asked(tmp_path):
    Run(tmp_path, 2).run()
    before = (tmp_path / "last.ckpt").read_bytes()
    with pytest.raises(InputError, match="holds a training already; go on with it by --resume True"):
        Run(tmp_path, 2).checkpoints.start(resume=False, overwrite=False)
    assert (tmp_path / "last.ckpt").read_bytes() == before
    assert not list(tmp_path.glob("*.old.*"))
    best = (tmp_path / "model.pt").read_bytes()
    Run(tmp_path, 2).checkpoints.start(resume=False, overwrite=True)
    # What fails from here on leaves no weights of the former run beside the configurations of this one.
    assert not (tmp_path / "model.pt").exists() and not (tmp_path / "last.ckpt").exists()
    assert (tmp_path / "model.old.pt").read_bytes() == best and (tmp_path / "last.old.ckpt").read_bytes() == before
    Run(tmp_path / "new", 2).checkpoints.start(resume=False, overwrite=False)


def test_in_place_the_weights_stay_until_an_epoch_has_others(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"the bundle's")
    for _ in range(2):
        before = (tmp_path / "model.pt").read_bytes()
        run = Run(tmp_path, 1)
        run.checkpoints.start(resume=False, overwrite=True, in_place=True)
        assert (tmp_path / "model.pt").read_bytes() == before == (tmp_path / "model.old.pt").read_bytes()
        run.run()
        assert (tmp_path / "model.pt").read_bytes() != before


def test_a_validation_without_any_label_is_none(tmp_path):
    run = Run(tmp_path, 6, dice=[math.nan] * 6, patience=2).run()
    assert run.trainer.state.epoch == 6 and run.checkpoints.best_epoch == 0
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)["average"]
    best = torch.load(tmp_path / "model.pt", weights_only=True)
    assert torch.equal(best["weight"], last["module.weight"])


def test_training_ends_at_a_validation_only(tmp_path):
    """Validated each fourth epoch, with a patience of three: epoch 8 may still improve on epoch 4."""
    dice = [None, None, None, 0.5, None, None, None, 0.6, None, None, None, 0.55, None, None]
    run = Run(tmp_path, 14, dice=dice, patience=3).run()
    assert run.trainer.state.epoch == 12 and run.checkpoints.best_epoch == 8


def test_ctrl_c_says_what_is_saved_and_how_to_go_on(tmp_path):
    def interrupt(engine):
        raise KeyboardInterrupt

    run = Run(tmp_path, 3)
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=STEPS + 3), interrupt)
    run.trainer.run = functools.partial(run.trainer.run, [None] * STEPS)
    with pytest.raises(KeyboardInterrupt, match=rf"interrupted in epoch 2; {tmp_path} holds .* --resume True\."):
        run_training(run.trainer, run.checkpoints)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 1
    first = Run(tmp_path / "new", 3)
    first.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), interrupt)
    first.trainer.run = functools.partial(first.trainer.run, [None] * STEPS)
    with pytest.raises(KeyboardInterrupt, match="nothing is saved: start again"):
        run_training(first.trainer, first.checkpoints)


def test_a_batch_of_one_voxel_is_reported_in_a_sentence(tmp_path):
    run = Run(tmp_path, 1)
    run.trainer.add_event_handler(Events.STARTED, lambda engine: torch.nn.BatchNorm3d(2)(torch.ones(1, 2, 1, 1, 1)))
    run.trainer.run = functools.partial(run.trainer.run, [None] * STEPS)
    with pytest.raises(InputError, match="give --batch_size 2 or a larger --patch_size"):
        run_training(run.trainer, run.checkpoints)


def test_a_folder_that_cant_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/run/writable: can't be written"):
        require_writable(str(tmp_path / "made"), str(tmp_path / "file" / "run"))
    assert list((tmp_path / "made").iterdir()) == []
