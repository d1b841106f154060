"""Speed peer: the PyTorch model timed one command at a time, so that a benchmark can alternate with it.

    /usr/bin/python3 peer.py --threads 2 --blas-threads 1

reads commands from standard input and answers each with one line, `ok`, seconds as %.6f, or `error …`:

    setup SIZE BATCH   new model of the paper's sizes, x and y 3×SIZE×SIZE        ok
    setup_encoder SIZE BATCH   the same whose layers share one encoder, with a    ok
                       head of two classes
    train              one step: zero_grad, forward, backward, clip, Adam         seconds
    predict_seq N      mean of N samples of each x, drawn one after the other     seconds
    predict_rep N      the same with x repeated N times in the batch dimension    seconds
    quit               leave (as does the end of input)                           ok

Before and after what is timed it sleeps for a tenth of a second, so that nobody's threads still spin.
The first command after `setup` also pays for one-off work inside PyTorch: leave it out of the statistics.
"""

import argparse
import os
import sys
import time


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("positive number expected")
    return number


def parse_arguments():
    parser = argparse.ArgumentParser(description="PyTorch speed peer, driven by lines on standard input")
    parser.add_argument("--threads", type=positive, default=2, help="threads of PyTorch (default: 2)")
    parser.add_argument("--blas-threads", type=positive, default=1, help="threads of OpenBLAS (default: 1)")
    return parser.parse_args()


ARGUMENTS = parse_arguments()
# Both are read when the libraries load. Left to itself OpenBLAS takes as many threads as there are cores. Where they
# are threads of its own they fight with PyTorch's OpenMP threads, which spin while they wait: on two cores one step at
# 32×32 took 0.26 to 0.44 s with two OpenBLAS threads, 0.20 to 0.33 s with one.
os.environ["OPENBLAS_NUM_THREADS"] = str(ARGUMENTS.blas_threads)
os.environ["OMP_NUM_THREADS"] = str(ARGUMENTS.threads)

# Threads of either program spin for a while after its work and would slow the other's: OpenBLAS's for 2^26 cycles.
SETTLE = 0.1

import torch  # noqa: E402  (after the environment above)

from cglow_oracle import CGlow, bits_per_dim, init_orthogonal  # noqa: E402
from draw import encoder_config  # noqa: E402
from encoder_oracle import EncodedGlow  # noqa: E402


def paper_config(size):
    return {
        "x": [3, size, size],
        "y": [3, size, size],
        "levels": 3,
        "depth": 8,
        "cn": {"channels": 64, "width": 128},
        "coupling": {"width": 256},
        "learned_prior": False,
    }


def default_encoder_config(size):
    """The defaults of the library's models with an encoder."""
    shape, head = [3, size, size], (2, "cross_entropy")
    return encoder_config(shape, shape, 3, 8, [32, 64, 96, 128, 128], width=64, bound=1.0, head=head)


@torch.no_grad()
def start_encoded(model):
    """He's rule and rotations; couplings start as the identity."""
    for name, p in model.named_parameters():
        if "invconv" in name:
            p.copy_(torch.linalg.qr(torch.randn(len(p), len(p))).Q)
        elif name.endswith("weight") and "conv3" not in name and "split" not in name and "prior" not in name:
            torch.nn.init.kaiming_normal_(p)
        else:
            p.zero_()


class Peer:
    def __init__(self):
        self.model = None

    def setup(self, size, batch):
        model = CGlow(paper_config(size))
        init_orthogonal(model)
        self.start(model, size, batch)
        self.target = None

    def setup_encoder(self, size, batch):
        model = EncodedGlow(default_encoder_config(size))
        start_encoded(model)
        self.start(model, size, batch)
        self.target = torch.randint(2, (batch, size, size))

    def start(self, model, size, batch):
        if batch < 1:
            raise ValueError("BATCH must be at least 1")
        self.model = self.optimizer = None  # the old model's memory goes before this one's optimizer comes
        torch.manual_seed(1)
        self.x = torch.rand(batch, 3, size, size)
        mask = (torch.rand(batch, 1, size, size) < 0.5).float()
        self.y = mask.expand(-1, 3, -1, -1) - 0.5 + torch.rand(batch, 3, size, size)
        # The loop over parameters: `foreach` was slower here (0.08 s against 0.06 s at 32×32).
        self.optimizer = torch.optim.Adam(model.parameters(), lr=2e-4, foreach=False)
        self.model = model

    def train(self):
        self.optimizer.zero_grad(set_to_none=True)
        logp, _ = self.model.log_prob(self.x, self.y)
        loss = bits_per_dim(logp, self.y[0].numel())
        if self.target is not None:
            loss = loss + 0.1 * self.model.head_loss(self.target)
        loss.backward()
        torch.nn.utils.clip_grad_value_(self.model.parameters(), 0.25)
        self.optimizer.step()
        return loss

    @torch.no_grad()
    def predict_seq(self, n):
        return torch.stack([self.model.sample(self.x) for _ in range(n)]).mean(0)

    @torch.no_grad()
    def predict_rep(self, n):
        return self.model.predict(self.x, n)

    def timed(self, method, *args):
        if self.model is None:
            raise ValueError("no model: send `setup SIZE BATCH` first")
        time.sleep(SETTLE)
        start = time.perf_counter()
        result = method(*args)
        seconds = time.perf_counter() - start
        time.sleep(SETTLE)
        if not torch.isfinite(result).all():
            raise ArithmeticError("the result is not finite, so its timing means nothing")
        return f"{seconds:.6f}"

    def answer(self, line):
        """The answer to one command line; None to leave."""
        command, *words = line.split()
        arguments = [int(w) for w in words]
        expected = {"setup": 2, "setup_encoder": 2, "train": 0, "predict_seq": 1, "predict_rep": 1, "quit": 0}.get(command)
        if expected is None:
            raise ValueError(f"unknown command {command!r}")
        if len(arguments) != expected:
            raise ValueError(f"{command} takes {expected} numbers, got {len(arguments)}")
        if command == "quit":
            return None
        if command.startswith("setup"):
            getattr(self, command)(*arguments)
            return "ok"
        return self.timed(getattr(self, command), *arguments)


def main():
    torch.set_num_threads(ARGUMENTS.threads)
    peer = Peer()
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            reply = peer.answer(line)
        except Exception as e:  # whatever goes wrong is an answer; the benchmark decides
            reply = f"error {type(e).__name__}: {e}".splitlines()[0]
        print(reply or "ok", flush=True)
        if reply is None:
            break


if __name__ == "__main__":
    main()
