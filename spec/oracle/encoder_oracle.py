"""Conditional Glow whose layers share one encoder of x, in plain PyTorch: the reference for such models.

With a = v_odd and features u_l ≥ 0 of x at 1/2^l of its sides, l = 1 … L:

    encoder    a_1 = stem(x); f_s = block(a_s); a_s = shrink_s(f_{s-1}) down to the coarsest scale S;
               g_S = f_S; g_s = block'(merge_s([enlarge(g_{s+1}), f_s])) upwards; u_l = g_{l+1}
               block(a) = relu(a + conv2(relu(conv1(relu(a)))))
    actnorm    z = (y + bias)·exp(logs), parameters of its own
    1×1        z = W y, W a parameter
    coupling   v = conv3(relu(norm2(conv2(relu(norm1(conv1(y1) + C_k u_l)))))); shift = v_even, log-scale = α·tanh(v_odd/α)
    injector   a = J_k u_l before the coupling; z = (y + a_even)·exp(β·tanh(a_odd/β)); an option
    pooled     g = mean over pixels of g_S; actnorm's (s, b) and the 1×1's W = tanh(A g + c) as options
    split      a = conv(z1) + D u_l; mean = a_even, logs = β·tanh(a_odd/β)
    prior      a = bias + E u_L, and the same of it
    head       h = 3×3 convolution of g_1; as an option the flow models y − ρ·h in place of y

Where y is smaller than x it is x's middle, and the middle of features and head is what counts.
"""

import torch
import torch.nn.functional as F
from torch import nn

from cglow_oracle import ActNorm, CouplingNet, InvConv, gaussian_log_density, numbered


def middle(t, height, width):
    top, left = (t.shape[2] - height) // 2, (t.shape[3] - width) // 2
    return t[:, :, top : top + height, left : left + width]


def conv3x3(channels_in, channels_out, stride=1):
    return nn.Conv2d(channels_in, channels_out, 3, stride, padding=1)


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.conv2 = conv3x3(channels, channels), conv3x3(channels, channels)
        self.relu = nn.ReLU()

    def forward(self, a):
        return self.relu(a + self.conv2(self.relu(self.conv1(self.relu(a)))))


class UNet(nn.Module):
    """x to the features of every scale from the finest one (1: x's own size) on."""

    def __init__(self, channels_in, channels, finest):
        super().__init__()
        scales = len(channels)
        self.finest, self.scales = finest, scales
        self.stem = conv3x3(channels_in, channels[0])
        pairs = list(zip(channels, channels[1:]))
        self.shrink = nn.ModuleDict({str(s): conv3x3(a, b, 2) for s, (a, b) in enumerate(pairs, 2)})
        self.down = numbered(Block(c) for c in channels)
        upwards = [s for s in range(1, scales) if s >= finest]
        self.merge = nn.ModuleDict({str(s): conv3x3(sum(pairs[s - 1]), channels[s - 1]) for s in upwards})
        self.up = nn.ModuleDict({str(s): Block(channels[s - 1]) for s in upwards})

    def forward(self, x):
        f = {1: self.down["1"](self.stem(x))}
        for s in range(2, self.scales + 1):
            f[s] = self.down[str(s)](self.shrink[str(s)](f[s - 1]))
        g = {self.scales: f[self.scales]}
        for s in reversed(range(self.finest, self.scales)):
            wide = F.interpolate(g[s + 1], scale_factor=2, mode="nearest")
            g[s] = self.up[str(s)](self.merge[str(s)](torch.cat([wide, f[s]], 1)))
        return g


class Map(nn.Module):
    """A 1×1 convolution without bias."""

    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels_out, channels_in))

    def forward(self, u):
        return torch.einsum("oc,nchw->nohw", self.weight, u)


class OwnActNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.logs = nn.Parameter(torch.zeros(channels))

    def forward(self, y):
        z = (y + self.bias[:, None, None]) * self.logs.exp()[:, None, None]
        return z, y.shape[2] * y.shape[3] * self.logs.sum()

    def inverse(self, z):
        return z * (-self.logs).exp()[:, None, None] - self.bias[:, None, None]


class OwnInvConv(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(channels))

    def forward(self, y):
        z = torch.einsum("oc,nchw->nohw", self.weight, y)
        return z, y.shape[2] * y.shape[3] * torch.linalg.slogdet(self.weight).logabsdet

    def inverse(self, z):
        return torch.einsum("oc,nchw->nohw", torch.linalg.inv(self.weight), z)


class BoundedCoupling(nn.Module):
    def __init__(self, channels, width, bound):
        super().__init__()
        self.bound = bound
        self.net = CouplingNet(channels, width)
        self.net.conv1 = nn.Conv2d(channels // 2, width, 3, padding=1, bias=False)

    def shift_and_logs(self, y1, added):
        net = self.net
        h = net.relu(net.norm1(net.conv1(y1) + added))
        v = net.conv3(net.relu(net.norm2(net.conv2(h))))
        return v[:, 0::2], self.bound * torch.tanh(v[:, 1::2] / self.bound)

    def forward(self, y, added):
        y1, y2 = y.chunk(2, 1)
        shift, logs = self.shift_and_logs(y1, added)
        return torch.cat([y1, (y2 + shift) * logs.exp()], 1), logs.sum((1, 2, 3))

    def inverse(self, z, added):
        z1, z2 = z.chunk(2, 1)
        shift, logs = self.shift_and_logs(z1, added)
        return torch.cat([z1, z2 * (-logs).exp() - shift], 1)


class PooledActNorm(ActNorm):
    """Actnorm as published, whose network is linear in the pooled features; those take x's place."""

    def __init__(self, channels, features):
        nn.Module.__init__(self)
        self.cn = nn.Linear(features, 2 * channels)


class PooledInvConv(InvConv):
    def __init__(self, channels, features):
        nn.Module.__init__(self)
        self.c, self.cn = channels, nn.Linear(features, channels * channels)


class EncodedStep(nn.Module):
    def __init__(self, channels, config):
        super().__init__()
        condition, deepest = config["condition"], config["encoder"]["channels"][-1]
        self.pooled = condition.get("actnorm"), condition.get("invconv")
        self.actnorm = PooledActNorm(channels, deepest) if self.pooled[0] else OwnActNorm(channels)
        self.invconv = PooledInvConv(channels, deepest) if self.pooled[1] else OwnInvConv(channels)
        self.coupling = BoundedCoupling(channels, config["coupling"]["width"], config["coupling"]["bound"])
        self.bound = condition["bound"]

    def arguments(self, g):
        """What actnorm and the 1×1 read besides y."""
        return [(g,) if pooled else () for pooled in self.pooled]

    def forward(self, y, added, injected, g):
        for_actnorm, for_invconv = self.arguments(g)
        y, actnorm = self.actnorm(y, *for_actnorm)
        y, invconv = self.invconv(y, *for_invconv)
        logdet = actnorm + invconv
        if injected is not None:
            shift, logs = bounded_moments(injected, self.bound)
            y, logdet = (y + shift) * logs.exp(), logdet + logs.sum((1, 2, 3))
        y, coupling = self.coupling(y, added)
        return y, logdet + coupling

    def inverse(self, z, added, injected, g):
        z = self.coupling.inverse(z, added)
        if injected is not None:
            shift, logs = bounded_moments(injected, self.bound)
            z = z * (-logs).exp() - shift
        for_actnorm, for_invconv = self.arguments(g)
        return self.actnorm.inverse(self.invconv.inverse(z, *for_invconv), *for_actnorm)


def bounded_moments(a, bound):
    return a[:, 0::2], bound * torch.tanh(a[:, 1::2] / bound)


class EncodedSplit(nn.Module):
    def __init__(self, channels, features):
        super().__init__()
        self.conv = conv3x3(channels // 2, channels)
        if features:
            self.cond = Map(features, channels)

    def mean_and_logs(self, z1, u, bound):
        if not hasattr(self, "cond"):
            h = torch.tanh(self.conv(z1))
            return h[:, 0::2], h[:, 1::2]
        return bounded_moments(self.conv(z1) + self.cond(u), bound)


class PriorMap(nn.Module):
    def __init__(self, channels, features):
        super().__init__()
        self.cond = Map(features, 2 * channels)


class EncodedLevel(nn.Module):
    def __init__(self, channels, features, config, last):
        super().__init__()
        width, condition = config["coupling"]["width"], config["condition"]
        self.width, self.depth = width, config["depth"]
        self.channels = channels
        self.step = numbered(EncodedStep(channels, config) for _ in range(self.depth))
        self.cond = Map(features, width * self.depth)
        self.injector = Map(features, 2 * channels * self.depth) if condition.get("injector") else None
        self.split = None if last else EncodedSplit(channels, features if condition["split"] else 0)
        self.prior = PriorMap(channels, features) if last and condition["prior"] else None

    def steps(self, u):
        """Each step with what the features add to it and inject in it."""
        injected = [None] * self.depth if self.injector is None else self.injector(u).split(2 * self.channels, 1)
        return list(zip(self.step.values(), self.cond(u).split(self.width, 1), injected))


class Bias(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class EncodedGlow(nn.Module):
    """The model that the `config` of a checkpoint with an encoder describes."""

    def __init__(self, config):
        super().__init__()
        c, h, w = config["y"]
        levels, channels = config["levels"], config["encoder"]["channels"]
        self.config, self.y_sides = config, (h, w)
        self.bound = config["condition"]["bound"]
        self.encoder = UNet(config["x"][0], channels, 1 if config.get("head") else 2)
        shapes = [(c * 2 ** (l + 1), h >> l, w >> l) for l in range(1, levels + 1)]
        self.level = numbered(
            EncodedLevel(s[0], channels[l], config, l == levels) for l, s in enumerate(shapes, 1)
        )
        self.last_shape = shapes[-1]
        self.prior = Bias(2 * shapes[-1][0]) if config["condition"]["prior"] else None
        self.head = conv3x3(channels[0], config["head"]["outputs"]) if config.get("head") else None

    def features(self, x):
        """u_l of every level, where y is; kept: what the head says there, and what of it the flow is spared."""
        g, (h, w) = self.encoder(x), self.y_sides
        self.pooled = g[self.encoder.scales].mean((2, 3))
        self.offset = 0
        if self.head is not None:
            self.said = middle(self.head(g[1]), h, w)
            if "residual" in self.config["head"]:
                self.offset = self.config["head"]["residual"] * self.said
        return [middle(g[l + 1], h >> l, w >> l) for l in range(1, len(self.level) + 1)]

    def last_mean_and_logs(self, like, u):
        if self.prior is None:
            return (torch.zeros_like(like),) * 2
        last = self.level[str(len(self.level))]
        return bounded_moments(self.prior.bias[:, None, None] + last.prior.cond(u), self.bound)

    def encode(self, x, y):
        us, zs, logdet, score = self.features(x), [], 0, 0
        y = y - self.offset
        for level, u in zip(self.level.values(), us):
            y = F.pixel_unshuffle(y, 2)
            for step, added, injected in level.steps(u):
                y, d = step(y, added, injected, self.pooled)
                logdet = logdet + d
            if level.split is not None:
                y, z = y.chunk(2, 1)
                score = score + gaussian_log_density(z, *level.split.mean_and_logs(y, u, self.bound))
                zs.append(z)
        zs.append(y)
        return zs, logdet, score + gaussian_log_density(y, *self.last_mean_and_logs(y, us[-1]))

    def log_prob(self, x, y):
        zs, logdet, score = self.encode(x, y)
        return logdet + score, zs

    def descend(self, us, z, sent_off):
        """From the last latent to y; sent_off(level number, z1, u) gives what a split had sent off."""
        for i, (level, u) in reversed(list(enumerate(zip(self.level.values(), us)))):
            if level.split is not None:
                z = torch.cat([z, sent_off(i, z, u)], 1)
            for step, added, injected in reversed(level.steps(u)):
                z = step.inverse(z, added, injected, self.pooled)
            z = F.pixel_shuffle(z, 2)
        return z + self.offset

    def decode(self, x, zs):
        return self.descend(self.features(x), zs[-1], lambda i, z1, u: zs[i])

    def generate(self, x, temperature=1.0):
        def draw(mean, logs):
            return mean + temperature * logs.exp() * torch.randn_like(mean)

        us = self.features(x)
        zs = [draw(*self.last_mean_and_logs(x.new_empty(len(x), *self.last_shape), us[-1]))]

        def sent_off(i, z1, u):
            zs.insert(0, draw(*list(self.level.values())[i].split.mean_and_logs(z1, u, self.bound)))
            return zs[0]

        return self.descend(us, zs[-1], sent_off), zs

    def sample(self, x, n=1, temperature=1.0):
        """n samples of each x: N·n×C×H×W, those of the first x first."""
        return self.generate(x.repeat_interleave(n, dim=0), temperature)[0]

    def predict(self, x, samples=10):
        """The mean of samples drawn for each x."""
        return self.sample(x, samples).unflatten(0, (len(x), samples)).mean(1)

    def head_loss(self, target):
        """Of the x that was encoded last; classes from 0 on, or values."""
        if self.config["head"]["loss"] == "cross_entropy":
            return F.cross_entropy(self.said, target)
        return F.mse_loss(self.said, target)
