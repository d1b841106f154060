"""Conditional Glow, p(y|x), in plain PyTorch: the reference the Lua/C core is tested and timed against.

Lu and Huang, "Structured Output Learning with Conditional Generative Flows", AAAI 2020 (arXiv 1905.13288).
x is N×Cx×Hx×Wx (the condition), y is N×C×H×W (the structured output). Every layer maps y to (z, log|det dz/dy|)
in `forward` and z back to y in `inverse`; both see x. Parameters carry the names used in checkpoints.
Works in any floating dtype: float64 for golden vectors, float32 as the benchmark's peer.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

LOG_2PI = math.log(2 * math.pi)


def rconv(channels_in, channels_out, size_in, size_out):
    """The convolution without padding that maps size_in = (a, b) pixels to exactly size_out = (c, d)."""
    if min(size_out) < 1 or any(c > a for a, c in zip(size_in, size_out)):
        raise ValueError(f"no unpadded convolution maps {size_in} to {size_out} pixels")
    stride = [a // c for a, c in zip(size_in, size_out)]
    kernel = [a - (c - 1) * s for a, c, s in zip(size_in, size_out, stride)]
    return nn.Conv2d(channels_in, channels_out, kernel, stride)


def numbered(modules):
    """Children named "1", "2", … as levels and steps are in checkpoints."""
    return nn.ModuleDict({str(i): m for i, m in enumerate(modules, 1)})


class ConditionNet(nn.Module):
    """CN: three shrinking convolutions and three fully connected layers, x to one vector per sample."""

    def __init__(self, x_shape, channels, width, outputs):
        super().__init__()
        cx, h, w = x_shape
        half, quarter, eighth = ((h // s, w // s) for s in (2, 4, 8))
        self.conv1 = rconv(cx, channels, (h, w), half)
        self.conv2 = rconv(channels, channels, half, quarter)
        self.conv3 = rconv(channels, channels, quarter, eighth)
        self.fc1 = nn.Linear(channels * eighth[0] * eighth[1], width)
        self.fc2 = nn.Linear(width, width)
        self.fc3 = nn.Linear(width, outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3):
            x = self.relu(conv(x))
        x = self.relu(self.fc1(x.flatten(1)))
        return self.fc3(self.relu(self.fc2(x)))


class ActNorm(nn.Module):
    """z = (y + b)·exp(s) with (s, b) = tanh(CN(x)), one pair per sample and channel."""

    def __init__(self, x_shape, y_shape, cn):
        super().__init__()
        self.cn = ConditionNet(x_shape, cn["channels"], cn["width"], 2 * y_shape[0])

    def scale_and_shift(self, x):
        return torch.tanh(self.cn(x))[:, :, None, None].chunk(2, dim=1)

    def forward(self, y, x):
        s, b = self.scale_and_shift(x)
        return (y + b) * s.exp(), y.shape[2] * y.shape[3] * s.sum((1, 2, 3))

    def inverse(self, z, x):
        s, b = self.scale_and_shift(x)
        return z * (-s).exp() - b


class InvConv(nn.Module):
    """z = W(x) y at every pixel, W = tanh(CN(x)) read as a row-major C×C matrix per sample."""

    def __init__(self, x_shape, y_shape, cn):
        super().__init__()
        self.c = y_shape[0]
        self.cn = ConditionNet(x_shape, cn["channels"], cn["width"], self.c * self.c)

    def matrix(self, x):
        return torch.tanh(self.cn(x)).view(-1, self.c, self.c)

    def forward(self, y, x):
        w = self.matrix(x)
        z = torch.bmm(w, y.flatten(2)).view_as(y)
        return z, y.shape[2] * y.shape[3] * torch.linalg.slogdet(w).logabsdet

    def inverse(self, z, x):
        return torch.linalg.solve(self.matrix(x), z.flatten(2)).view_as(z)


class CouplingConditionNet(nn.Module):
    """CNc: x to C/2 channels at y's resolution, so that it can stand beside y1."""

    def __init__(self, x_shape, y_shape):
        super().__init__()
        cx, hx, wx = x_shape
        c, h, w = y_shape
        self.conv1 = nn.Conv2d(cx, 16, 3, padding=1)
        self.rconv = rconv(16, c // 2, (hx, wx), (h, w))
        self.conv2 = nn.Conv2d(c // 2, c // 2, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        for conv in (self.conv1, self.rconv, self.conv2):
            x = self.relu(conv(x))
        return x


class Norm(nn.Module):
    """(h + bias)·exp(logs), per channel."""

    def __init__(self, channels):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.logs = nn.Parameter(torch.zeros(channels))

    def forward(self, h):
        return (h + self.bias[:, None, None]) * self.logs.exp()[:, None, None]


class ScaledConv(nn.Conv2d):
    """3×3 convolution, then (· + bias)·exp(3·logs), starting at zero."""

    def __init__(self, channels_in, channels_out):
        super().__init__(channels_in, channels_out, 3, padding=1)
        self.logs = nn.Parameter(torch.zeros(channels_out))

    def forward(self, h):
        return super().forward(h) * (3 * self.logs).exp()[:, None, None]


class CouplingNet(nn.Module):
    """NN: 3×3, 1×1, 3×3 convolutions of the given width between them."""

    def __init__(self, channels, width):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm1 = Norm(width)
        self.conv2 = nn.Conv2d(width, width, 1, bias=False)
        self.norm2 = Norm(width)
        self.conv3 = ScaledConv(width, channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, h):
        h = self.relu(self.norm1(self.conv1(h)))
        h = self.relu(self.norm2(self.conv2(h)))
        return self.conv3(h)


class Coupling(nn.Module):
    """z1 = y1, z2 = (y2 + t)·σ, where t and σ come from x and y1."""

    def __init__(self, x_shape, y_shape, width):
        super().__init__()
        self.cn = CouplingConditionNet(x_shape, y_shape)
        self.net = CouplingNet(y_shape[0], width)

    def shift_and_scale(self, y1, x):
        o = torch.tanh(self.net(torch.cat([self.cn(x), y1], dim=1)))
        return o[:, 0::2], torch.sigmoid(o[:, 1::2] + 2)

    def forward(self, y, x):
        y1, y2 = y.chunk(2, dim=1)
        shift, scale = self.shift_and_scale(y1, x)
        return torch.cat([y1, (y2 + shift) * scale], dim=1), scale.log().sum((1, 2, 3))

    def inverse(self, z, x):
        z1, z2 = z.chunk(2, dim=1)
        shift, scale = self.shift_and_scale(z1, x)
        return torch.cat([z1, z2 / scale - shift], dim=1)


class Step(nn.Module):
    def __init__(self, x_shape, y_shape, cn, width):
        super().__init__()
        self.actnorm = ActNorm(x_shape, y_shape, cn)
        self.invconv = InvConv(x_shape, y_shape, cn)
        self.coupling = Coupling(x_shape, y_shape, width)

    def forward(self, y, x):
        y, actnorm = self.actnorm(y, x)
        y, invconv = self.invconv(y, x)
        y, coupling = self.coupling(y, x)
        return y, actnorm + invconv + coupling

    def inverse(self, z, x):
        for layer in (self.coupling, self.invconv, self.actnorm):
            z = layer.inverse(z, x)
        return z


class Split(nn.Module):
    """The Gaussian of the half that leaves, given the half that stays."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels // 2, channels, 3, padding=1)

    def mean_and_logs(self, z1):
        h = torch.tanh(self.conv(z1))
        return h[:, 0::2], h[:, 1::2]


class Prior(nn.Module):
    """Learned mean and log-scale of the last latent."""

    def __init__(self, shape):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(shape))
        self.logs = nn.Parameter(torch.zeros(shape))


class Level(nn.Module):
    def __init__(self, x_shape, y_shape, config, last):
        super().__init__()
        width = config["coupling"]["width"]
        self.step = numbered(Step(x_shape, y_shape, config["cn"], width) for _ in range(config["depth"]))
        self.split = None if last else Split(y_shape[0])


def gaussian_log_density(z, mean, logs):
    """log N(z; mean, exp(logs)²) in nats, one number per sample."""
    return -0.5 * (((z - mean) * (-logs).exp()) ** 2 + 2 * logs + LOG_2PI).sum((1, 2, 3))


class CGlow(nn.Module):
    """The model that a checkpoint's `config` describes; `config` is that table as a dict."""

    def __init__(self, config):
        super().__init__()
        c, h, w = config["y"]
        levels = config["levels"]
        if h % 2**levels or w % 2**levels:
            raise ValueError(f"y of {h}×{w} pixels cannot be squeezed {levels} times")
        shapes = [(c * 2 ** (l + 1), h >> l, w >> l) for l in range(1, levels + 1)]
        self.level = numbered(Level(config["x"], s, config, s is shapes[-1]) for s in shapes)
        self.prior = Prior(shapes[-1]) if config.get("learned_prior") else None
        self.y_shape = (c, h, w)
        self.last_shape = shapes[-1]

    def encode(self, x, y):
        """(zs, log-determinants, log density of zs), the last two in nats per sample."""
        zs, logdet, score = [], 0, 0
        for level in self.level.values():
            y = F.pixel_unshuffle(y, 2)
            for step in level.step.values():
                y, d = step(y, x)
                logdet = logdet + d
            if level.split is not None:
                y, z = y.chunk(2, dim=1)
                score = score + gaussian_log_density(z, *level.split.mean_and_logs(y))
                zs.append(z)
        zs.append(y)
        return zs, logdet, score + gaussian_log_density(y, *self.last_mean_and_logs(y))

    def last_mean_and_logs(self, like):
        if self.prior is None:
            return (torch.zeros_like(like),) * 2
        return self.prior.mean.expand_as(like), self.prior.logs.expand_as(like)

    def log_prob(self, x, y):
        """log p(y|x) in nats per sample, and zs: what each split sent off, level 1 first, then the last z."""
        zs, logdet, score = self.encode(x, y)
        return logdet + score, zs

    def decode(self, x, zs):
        """The y whose latents are zs."""
        z = zs[-1]
        for i, level in reversed(list(enumerate(self.level.values()))):
            if level.split is not None:
                z = torch.cat([z, zs[i]], dim=1)
            z = self.undo_steps(level, z, x)
        return z

    def generate(self, x, temperature=1.0):
        """One y per x, and the latents it was made from; standard deviations are scaled by the temperature."""

        def draw(mean, logs):
            return mean + temperature * logs.exp() * torch.randn_like(mean)

        z = draw(*self.last_mean_and_logs(x.new_empty(len(x), *self.last_shape)))
        zs = [z]
        for level in reversed(self.level.values()):
            if level.split is not None:
                sent_off = draw(*level.split.mean_and_logs(z))
                zs.insert(0, sent_off)
                z = torch.cat([z, sent_off], dim=1)
            z = self.undo_steps(level, z, x)
        return z, zs

    @staticmethod
    def undo_steps(level, z, x):
        for step in reversed(level.step.values()):
            z = step.inverse(z, x)
        return F.pixel_shuffle(z, 2)

    def sample(self, x, n=1, temperature=1.0):
        """n samples of each x: N·n×C×H×W, those of the first x first."""
        return self.generate(x.repeat_interleave(n, dim=0), temperature)[0]

    def predict(self, x, samples=10):
        """The mean of samples drawn for each x."""
        return self.sample(x, samples).view(len(x), samples, *self.y_shape).mean(1)


def bits_per_dim(logp, dims, cell=1.0):
    """Mean over the batch of −(log p + D·log w)/(D·ln 2), w the spacing of y's values."""
    return -(logp + dims * math.log(cell)).mean() / (dims * math.log(2))


@torch.no_grad()
def init_orthogonal(model):
    """The "orthogonal" initialisation: 1×1 convolutions are random rotations, most other networks start at zero."""
    for m in model.modules():
        if isinstance(m, ConditionNet):
            for layer in (m.conv1, m.conv2, m.conv3):
                layer.weight.zero_()
            for layer in (m.fc1, m.fc2, m.fc3):
                layer.weight.zero_()
                layer.bias.zero_()
        elif isinstance(m, CouplingConditionNet):
            m.conv1.weight.normal_(0, 0.1)
            m.conv2.weight.normal_(0, 0.1)
        elif isinstance(m, CouplingNet):
            for p in (m.conv1.weight, m.norm1.bias, m.norm1.logs, m.conv2.weight, m.norm2.bias, m.norm2.logs):
                p.normal_(0, 0.05)
            for p in (m.conv3.weight, m.conv3.bias, m.conv3.logs):
                p.zero_()
        elif isinstance(m, Split):
            m.conv.weight.normal_(0, 0.1)
    for m in model.modules():
        if isinstance(m, InvConv):
            rotation = torch.linalg.qr(torch.randn(m.c, m.c, dtype=m.cn.fc3.bias.dtype)).Q
            m.cn.fc3.bias.copy_(torch.atanh(rotation).flatten())
