"""Draws small models, inputs and latents in which every path matters: what the golden vectors are made from."""

import itertools

import torch
from torch import nn

from cglow_oracle import CGlow, ConditionNet, CouplingConditionNet, CouplingNet, InvConv, bits_per_dim
from encoder_oracle import EncodedGlow, EncodedLevel, Map, OwnInvConv, PooledActNorm, PooledInvConv, UNet

# What makes a draw unfit, and how far it may go. The float core is compared with these numbers, so they must not hang
# on the last bits of a float.
KINK_DISTANCE = 2e-5  # smallest |input of a ReLU|; float rounding moves it by about 1e-6
CONDITION = 10  # largest condition number of any W
SATURATION = 0.95  # largest |entry| of any W, which is a tanh
DEAD_SHARE = 0.5  # largest share of zeros in the gradient of any bias or logs, and so of units dead for the whole batch
X_EFFECT = 0.03  # smallest ‖W(x) − W(−x)‖/‖W(x)‖
DECODED = 200  # largest |y| decoded from latents at temperature 2
FLOAT_LOGP = 2e-6  # largest relative error of log p in this oracle's own float32 …
FLOAT_GRAD = 2e-4  # … of a gradient, relative to the tensor's largest entry …
FLOAT_DECODE = 2e-5  # … and of the decoded y


def spread(p, std):
    """Normal numbers of the given deviation, kept away from zero."""
    p.normal_(0, std)
    p.add_(p.sign() * 0.1 * std)


@torch.no_grad()
def draw_parameters(model):
    for m in model.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear, Map)):
            spread(m.weight, m.weight[0].numel() ** -0.5)
        if isinstance(getattr(m, "bias", None), nn.Parameter):
            spread(m.bias, 0.2)
        for name in ("logs", "mean"):
            if isinstance(getattr(m, name, None), nn.Parameter):
                spread(getattr(m, name), 0.1)
    for m in model.modules():
        if isinstance(m, ConditionNet):
            enliven(m.conv1, m.conv2, m.conv3, m.fc1, m.fc2)
        elif isinstance(m, CouplingConditionNet):
            enliven(m.conv1, m.rconv, m.conv2)
        elif isinstance(m, CouplingNet):
            enliven(m.norm1, m.norm2)
        elif isinstance(m, InvConv):
            draw_matrix(m, m.cn if isinstance(m, PooledInvConv) else m.cn.fc3)
            if isinstance(m, PooledInvConv):
                m.cn.weight.mul_(0.2)
        elif isinstance(m, OwnInvConv):
            draw_own_matrix(m)
        elif isinstance(m, EncodedLevel) and m.injector is not None:
            m.injector.weight.mul_(0.1)  # features are of size 1 to 10, whatever their number
        elif isinstance(m, PooledActNorm):
            m.cn.weight.mul_(0.2)
        elif isinstance(m, UNet):
            enliven(*(conv for conv in m.modules() if isinstance(conv, nn.Conv2d)))


def enliven(*layers):
    """Biases that keep most units alive: one dead for the whole batch hides errors behind zero gradients."""
    for layer in layers:
        layer.bias.abs_().add_(0.4)
        if hasattr(layer, "weight"):
            layer.weight.mul_(0.8)


def draw_matrix(m, last):
    """W = tanh(the last layer) near 0.8 times a rotation, with a part that depends on x."""
    rotation = torch.linalg.qr(torch.randn(m.c, m.c, dtype=torch.float64)).Q
    last.bias.copy_(torch.atanh(0.8 * rotation).flatten())
    last.weight.mul_(0.5 * m.c**-0.5)


def draw_own_matrix(m):
    """W near 0.8 times a rotation."""
    c = len(m.weight)
    rotation = torch.linalg.qr(torch.randn(c, c, dtype=torch.float64)).Q
    m.weight.copy_(0.8 * rotation + 0.1 * c**-0.5 * torch.randn(c, c, dtype=torch.float64))


def encoder_config(x, y, levels, depth, channels, width=8, bound=1.0, head=None, split=True, prior=True, more=()):
    """The configuration of a model with an encoder; head: (outputs, loss) and perhaps residual; more: of injector,
    actnorm, invconv."""
    config = {
        "x": x,
        "y": y,
        "levels": levels,
        "depth": depth,
        "encoder": {"channels": channels},
        "coupling": {"width": width, "bound": bound},
        "condition": {"split": split, "prior": prior, "bound": 2.0},
        "learned_prior": False,
    }
    config["condition"].update({kind: True for kind in more})
    if head:
        config["head"] = dict(zip(["outputs", "loss", "residual"], head), weight=0.3)
    return config


def model_of(config):
    return EncodedGlow(config) if "encoder" in config else CGlow(config)


def draw_target(config, batch):
    """What the head of a model is asked for, of y's sides: classes from 0 on, or values; None without a head."""
    head, (_, h, w) = config.get("head"), config["y"]
    if not head:
        return None
    if head["loss"] == "cross_entropy":
        return torch.randint(head["outputs"], (batch, h, w))
    return torch.randn(batch, head["outputs"], h, w, dtype=torch.float64)


class Draw:
    """A model, a batch and everything computed from them, in float64."""

    def __init__(self, config, batch, seed):
        torch.manual_seed(seed)
        self.config, self.seed = config, seed
        self.model = model_of(config).double()
        draw_parameters(self.model)
        self.x = torch.randn(batch, *config["x"], dtype=torch.float64).requires_grad_()
        self.y = torch.randn(batch, *config["y"], dtype=torch.float64).requires_grad_()
        self.target = draw_target(config, batch)
        self.kink_distance = float("inf")
        self.watch_kinks(self.evaluate)
        with torch.no_grad():
            self.decoded, self.drawn_zs = self.model.generate(self.x, temperature=2.0)

    def watch_kinks(self, run):
        def look(_, inputs):
            self.kink_distance = min(self.kink_distance, inputs[0].detach().abs().min().item())

        hooks = [m.register_forward_pre_hook(look) for m in self.model.modules() if isinstance(m, nn.ReLU)]
        run()
        for hook in hooks:
            hook.remove()

    def evaluate(self):
        self.logp, self.zs = self.model.log_prob(self.x, self.y)
        self.loss = bits_per_dim(self.logp, self.y[0].numel())
        self.head_loss = self.loss_of_head(self.model, self.target)
        named = [*self.model.named_parameters(), ("x", self.x), ("y", self.y)]
        grads = torch.autograd.grad(self.whole_loss(self.loss, self.head_loss), [p for _, p in named])
        self.grads = {name: g for (name, _), g in zip(named, grads)}

    @staticmethod
    def loss_of_head(model, target):
        """Of the x that the model saw last; None without a head."""
        return None if target is None else model.head_loss(target)

    def whole_loss(self, loss, head_loss):
        """What the gradients are of: the head's loss counts with its weight."""
        return loss if head_loss is None else loss + self.config["head"]["weight"] * head_loss

    def matrices(self, x):
        """Those that x makes, or the model's own."""
        with torch.no_grad():
            own = [m.weight[None] for m in self.model.modules() if isinstance(m, OwnInvConv)]
            if "encoder" in self.config:  # what is pooled of x takes its place
                self.model.features(x)
                x = self.model.pooled
            return own + [m.matrix(x) for m in self.model.modules() if isinstance(m, InvConv)]

    def x_effect(self):
        """Of models whose matrices x makes."""
        if "encoder" in self.config:
            return 1
        pairs = zip(self.matrices(self.x), self.matrices(-self.x))
        return min(((w - other).norm() / w.norm()).item() for w, other in pairs)

    def dead_share(self):
        per_unit = [g for name, g in self.grads.items() if name.endswith((".bias", ".logs"))]
        return max((g == 0).double().mean().item() for g in per_unit)

    def float_errors(self):
        """Relative errors of log p, of the worst gradient and of the decoded y when computed in float32."""
        model = model_of(self.config)
        model.load_state_dict(self.model.state_dict())
        x, y = (t.detach().float().requires_grad_() for t in (self.x, self.y))
        logp, _ = model.log_prob(x, y)
        target = self.target.float() if self.target is not None and self.target.is_floating_point() else self.target
        loss = self.whole_loss(bits_per_dim(logp, y[0].numel()), self.loss_of_head(model, target))
        grads = torch.autograd.grad(loss, [*model.parameters(), x, y])
        with torch.no_grad():
            decoded = model.decode(x, [z.float() for z in self.drawn_zs])
        worst = max(relative_to_max(g, exact) for g, exact in zip(grads, self.grads.values()))
        return ((logp - self.logp) / self.logp).abs().max().item(), worst, relative_to_max(decoded, self.decoded)

    def figures(self):
        """What is limited: name → (value, limit), where value must not exceed limit."""
        matrices = self.matrices(self.x)
        logp, grad, decode = self.float_errors()
        return {
            "1/kink": (1 / self.kink_distance, 1 / KINK_DISTANCE),
            "cond(W)": (max(torch.linalg.cond(w).max().item() for w in matrices), CONDITION),
            "|W|": (max(w.abs().max().item() for w in matrices), SATURATION),
            "1/x effect": (1 / self.x_effect(), 1 / X_EFFECT),
            "dead": (self.dead_share(), DEAD_SHARE),
            "|decoded|": (self.decoded.abs().max().item(), DECODED),
            "float logp": (logp, FLOAT_LOGP),
            "float grad": (grad, FLOAT_GRAD),
            "float decode": (decode, FLOAT_DECODE),
        }


def relative_to_max(value, exact):
    return ((value - exact).abs().max() / exact.abs().max()).item()


def first_fit(config, batch, report, tries=200):
    """The draw of the first seed from 1 that keeps every limit, and its figures."""
    for seed in itertools.islice(itertools.count(1), tries):
        draw = Draw(config, batch, seed)
        figures = draw.figures()
        broken = [name for name, (value, limit) in figures.items() if value > limit]
        if not broken:
            return draw, figures
        report(seed, broken)
    raise RuntimeError(f"none of the seeds 1 to {tries} gives a usable model")
