"""What the oracle must satisfy before its numbers are trusted; each check raises when it does not."""

import math

import torch
import torch.nn.functional as F
from torch.autograd.functional import jacobian

from cglow_oracle import bits_per_dim, gaussian_log_density, rconv
from draw import Draw, encoder_config, relative_to_max


def need(condition, message):
    if not condition:
        raise RuntimeError("self-check failed: " + message)


def check_squeeze_order():
    """Output channel 4c + 2i + j holds the pixels at row offset i, column offset j."""
    y = torch.randn(2, 3, 4, 6)
    z = F.pixel_unshuffle(y, 2)
    for c in range(3):
        for i in range(2):
            for j in range(2):
                need(torch.equal(z[:, 4 * c + 2 * i + j], y[:, c, i::2, j::2]), "channel order of squeeze")


def check_rconv_sizes():
    """Any a×b to any smaller c×d, covering the last pixel as well."""
    for a in range(1, 25):
        for c in range(1, a + 1):
            conv = rconv(1, 1, (a, 24), (c, 7))
            need(conv(torch.zeros(1, 1, a, 24)).shape[2:] == (c, 7), f"rconv {a} to {c}")
            need((c - 1) * conv.stride[0] + conv.kernel_size[0] == a, f"rconv {a} to {c} leaves pixels out")


def check_gaussian():
    z, mean, logs = torch.randn(3, 2, 4, 3, 5, dtype=torch.float64)
    peer = torch.distributions.Normal(mean, logs.exp()).log_prob(z).sum((1, 2, 3))
    need(torch.allclose(gaussian_log_density(z, mean, logs), peer, rtol=1e-13), "Gaussian log density")


def check_log_determinant():
    """Summed log-determinants against log|det| of the whole Jacobian dzs/dy, sample by sample."""
    config = {
        "x": [3, 8, 9],
        "y": [1, 4, 8],
        "levels": 2,
        "depth": 2,
        "cn": {"channels": 4, "width": 6},
        "coupling": {"width": 5},
        "learned_prior": True,
    }
    d = Draw(config, batch=3, seed=1)
    x, y = d.x.detach(), d.y.detach()
    _, logdet, _ = d.model.encode(x, y)
    for i in range(len(x)):
        one = x[i : i + 1]

        def flow(v):
            zs, _, _ = d.model.encode(one, v.view(1, *config["y"]))
            return torch.cat([z.flatten() for z in zs])

        exact = torch.linalg.slogdet(jacobian(flow, y[i].flatten())).logabsdet
        # Both are sums over 32 pixels of double numbers of size 1: 1e-12 leaves room for the LU of a 32×32 matrix.
        need(abs(logdet[i] - exact) <= 1e-12 * max(1, abs(exact)), f"log-determinant {logdet[i]} is not {exact}")


def check_log_determinant_encoded():
    """The same of a model with an encoder; its latents and y have as many numbers."""
    config = encoder_config([1, 16, 8], [2, 8, 8], 2, 1, [2, 3, 2], width=5, more=["injector", "actnorm"])
    d = Draw(config, batch=2, seed=1)
    x, y = d.x.detach(), d.y.detach()
    _, logdet, _ = d.model.encode(x, y)
    for i in range(len(x)):

        def flow(v):
            zs, _, _ = d.model.encode(x[i : i + 1], v.view(1, *config["y"]))
            return torch.cat([z.flatten() for z in zs])

        exact = torch.linalg.slogdet(jacobian(flow, y[i].flatten())).logabsdet
        need(abs(logdet[i] - exact) <= 1e-12 * max(1, abs(exact)), f"log-determinant {logdet[i]} is not {exact}")


def encoder_names(config):
    """The names of a model with an encoder."""
    scales, head = range(1, len(config["encoder"]["channels"]) + 1), config.get("head")
    convs = ["stem"] + [f"shrink.{s}" for s in scales[1:]] + [f"down.{s}.conv{i}" for s in scales for i in (1, 2)]
    for s in scales[:-1]:
        if s > 1 or head:
            convs += [f"merge.{s}", f"up.{s}.conv1", f"up.{s}.conv2"]
    names = {f"encoder.{conv}.{p}" for conv in convs for p in ("weight", "bias")}
    names |= {"head.weight", "head.bias"} if head else set()
    condition = config["condition"]
    step = ["actnorm.cn.weight", "actnorm.cn.bias"] if condition.get("actnorm") else ["actnorm.bias", "actnorm.logs"]
    step += ["invconv.cn.weight", "invconv.cn.bias"] if condition.get("invconv") else ["invconv.weight"]
    step += [f"coupling.net.conv{i}.weight" for i in (1, 2, 3)]
    step += [f"coupling.net.{layer}.{p}" for layer in ("norm1", "norm2", "conv3") for p in ("bias", "logs")]
    levels = range(1, config["levels"] + 1)
    names |= {f"level.{i}.step.{k}.{name}" for i in levels for k in range(1, config["depth"] + 1) for name in step}
    names |= {f"level.{i}.cond.weight" for i in levels}
    names |= {f"level.{i}.injector.weight" for i in levels} if condition.get("injector") else set()
    names |= {f"level.{i}.split.conv.{p}" for i in levels[:-1] for p in ("weight", "bias")}
    if condition["split"]:
        names |= {f"level.{i}.split.cond.weight" for i in levels[:-1]}
    if condition["prior"]:
        names |= {f"level.{levels[-1]}.prior.cond.weight", "prior.bias"}
    return names


def parameter_names(config):
    """The names that checkpoints use, spelled out."""
    if "encoder" in config:
        return encoder_names(config)
    cn = [f"cn.{layer}.{p}" for layer in ("conv1", "conv2", "conv3", "fc1", "fc2", "fc3") for p in ("weight", "bias")]
    step = [f"{layer}.{name}" for layer in ("actnorm", "invconv") for name in cn]
    step += [f"coupling.cn.{layer}.{p}" for layer in ("conv1", "rconv", "conv2") for p in ("weight", "bias")]
    step += [f"coupling.net.conv{i}.weight" for i in (1, 2, 3)]
    step += [f"coupling.net.{layer}.{p}" for layer in ("norm1", "norm2", "conv3") for p in ("bias", "logs")]
    levels = range(1, config["levels"] + 1)
    names = {f"level.{i}.step.{k}.{name}" for i in levels for k in range(1, config["depth"] + 1) for name in step}
    names |= {f"level.{i}.split.conv.{p}" for i in levels[:-1] for p in ("weight", "bias")}
    return names | ({"prior.mean", "prior.logs"} if config["learned_prior"] else set())


def check_names(d):
    need(set(d.model.state_dict()) == parameter_names(d.config), "parameter names")


def check_round_trips(d):
    """Both ways, to 1e-11 of the largest entry: double precision times the conditioning that draws are limited to."""
    with torch.no_grad():
        need(relative_to_max(d.model.decode(d.x, d.zs), d.y) < 1e-11, "decode undoes log_prob")
        need(relative_to_max(d.model.decode(d.x, d.drawn_zs), d.decoded) < 1e-11, "decode follows generate")
        _, again = d.model.log_prob(d.x, d.decoded)
        for z, drawn in zip(again, d.drawn_zs):
            need(relative_to_max(z, drawn) < 1e-11, "log_prob undoes decode")


def norm(tensors):
    return math.sqrt(sum((t * t).sum().item() for t in tensors))


def check_gradients(d):
    """The loss along one random direction through all parameters, x and y at once, by central differences."""
    tensors = [t.detach() for t in (*d.model.parameters(), d.x, d.y)]
    saved = [t.clone() for t in tensors]
    directions = [torch.randn_like(t) for t in tensors]
    length = norm(directions)
    slope = sum((g * v).sum().item() for g, v in zip(d.grads.values(), directions)) / length

    @torch.no_grad()
    def loss_at(distance):
        for t, start, v in zip(tensors, saved, directions):
            t.copy_(start + distance / length * v)
        loss = bits_per_dim(d.model.log_prob(d.x, d.y)[0], d.y[0].numel())
        loss = d.whole_loss(loss, d.loss_of_head(d.model, d.target)).item()
        for t, start in zip(tensors, saved):
            t.copy_(start)
        return loss

    h = 1e-5  # spread over thousands of numbers, so that no ReLU input moves by the distance to its kink
    difference = (loss_at(h) - loss_at(-h)) / (2 * h)
    # The loss is of size 1 to 10 and rounded to 1e-15, so the difference to about 1e-10; slopes are about 0.1, or 10
    # where shifts have no bound, and the third derivative, of which h² remains, grows with them.
    need(abs(difference - slope) < 1e-9 * max(1, abs(slope)), f"gradient: slope {slope}, difference {difference}")


def check_parameters_count(d):
    """Nothing is zero, so nothing can be left out unnoticed."""
    for name, p in d.model.named_parameters():
        need((p != 0).all(), f"{name} has a zero")
    for name, g in d.grads.items():
        need(torch.isfinite(g).all() and (g != 0).any(), f"{name} has no gradient")


def check_oracle():
    check_squeeze_order()
    check_rconv_sizes()
    check_gaussian()
    check_log_determinant()
    check_log_determinant_encoded()


def check_draw(d):
    check_names(d)
    check_parameters_count(d)
    check_round_trips(d)
    check_gradients(d)
