"""A handler for the test of distributed training: what each rank saw, and the weights it ended with."""

from pathlib import Path

import torch
import torch.distributed as dist
from ignite.engine import Events


class WatchRanks:
    """Writes `rank<N>.pt` with the case ids of each epoch, and the network and what it validates at the end."""

    def __init__(self, network, validated, folder):
        self.network = network
        self.validated = validated
        self.folder = Path(folder)
        self.seen = []

    def attach(self, engine):
        engine.add_event_handler(Events.EPOCH_STARTED, lambda: self.seen.append([]))
        engine.add_event_handler(Events.ITERATION_STARTED, self.look)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def look(self, engine):
        self.seen[-1] += engine.state.batch["case_id"]

    def write(self, engine):
        self.folder.mkdir(exist_ok=True)
        networks = {"network": self.network.module.state_dict(), "validated": self.validated.state_dict()}
        state = {"seen": self.seen, **networks}
        torch.save(state, self.folder / f"rank{dist.get_rank()}.pt")
