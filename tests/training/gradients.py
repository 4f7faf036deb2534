"""One step's gradients, for the test of distributed training: run by `torchrun`, or alone on the whole batch."""

import sys

import torch
import torch.distributed as dist

from ulite_monai.networks import ULite
from ulite_monai.training.distributed import join, wrap

BATCH = 4


def gradients(distributed: bool) -> dict[str, torch.Tensor]:
    """Of a network without statistics over the batch, of which each process would have its own."""
    device = join() if distributed else torch.device("cpu")
    torch.manual_seed(0)
    network = ULite(3, 1, 3, features=(4, 8, 8), norm="instance")
    images, labels = torch.rand(BATCH, 1, 12, 12, 8), torch.randint(0, 3, (BATCH, 12, 12, 8))
    wrapped = wrap(network, device) if distributed else network
    share = slice(dist.get_rank(), None, dist.get_world_size()) if distributed else slice(None)
    torch.nn.functional.cross_entropy(wrapped(images[share]), labels[share]).backward()
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


if __name__ == "__main__":
    found = gradients(distributed=True)
    torch.save(found, f"{sys.argv[1]}/rank{dist.get_rank()}.pt")
    dist.destroy_process_group()
