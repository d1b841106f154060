"""Writes the golden vectors: small models with their inputs, latents, log p, loss and every gradient, in float64.

    /usr/bin/python3 make_golden.py [FOLDER]     (default: ../golden beside this file)

Each file is a safetensors file with metadata `config` (the model's constructor table) and `seed`, and the tensors

    <parameter name>                 every parameter, with no zero in it
    input.x  input.y                 a batch
    latent.1 … latent.L              what each split sent off, level 1 first, then the last z
    output.logp  output.loss         nats per sample; mean bits per dim for cell width 1, shape [1]
    grad.<parameter name>            of the loss; also grad.x and grad.y
    input.head   output.head_loss    with a head: its target (classes from 1 on, or values), and its loss, which counts
                                     in the gradients with the head's weight
    decode.zs.1 … decode.zs.L        latents drawn at temperature 2 for input.x, in the order of latent.*
    decode.y                         the y they decode to

The oracle checks itself before it writes (checks.py), and every model is drawn so that float32 can be compared with it
(the limits in draw.py). Runs on one thread from fixed seeds: the same machine writes the same bytes.
"""

import json
import pathlib
import sys

import torch

import safetensors_f64
from checks import check_draw, check_oracle
from draw import encoder_config, first_fit

SIZE_LIMIT = 3_800_000  # bytes, of all files together


def case(x, y, levels, depth, batch, channels=4, n_w=6, width=8, learned_prior=False):
    config = {
        "x": x,
        "y": y,
        "levels": levels,
        "depth": depth,
        "cn": {"channels": channels, "width": n_w},
        "coupling": {"width": width},
        "learned_prior": learned_prior,
    }
    return config, batch


CASES = {
    "gray_l1": case([1, 8, 8], [1, 8, 8], 1, 2, batch=2),
    "gray_l1_prior": case([1, 8, 8], [1, 4, 6], 1, 3, batch=1, width=5, learned_prior=True),
    "odd_gray_to_rgb_l1": case([1, 11, 9], [3, 4, 8], 1, 2, batch=3, channels=5, width=7),
    "rgb_l2": case([3, 8, 8], [3, 8, 8], 2, 1, batch=3, n_w=5, width=6),
    "rgb_to_gray_l2_prior": case([3, 12, 20], [1, 8, 12], 2, 2, batch=2, learned_prior=True),
    "wide_x_l2": case([3, 8, 12], [3, 8, 8], 2, 1, batch=1, channels=5, n_w=5),
    "small_x_l3": case([3, 8, 8], [3, 16, 16], 3, 1, batch=2, n_w=4, width=5),
    "encoder_l1": (encoder_config([1, 8, 8], [1, 8, 8], 1, 2, [3, 4]), 2),
    "encoder_head_l2": (
        encoder_config([2, 8, 12], [3, 8, 12], 2, 2, [3, 4, 3], width=6, bound=0.7, head=(3, "cross_entropy")),
        3,
    ),
    "encoder_middle_l2": (
        encoder_config([3, 16, 32], [1, 8, 24], 2, 1, [2, 3, 4, 3], width=5, head=(2, "squared_error")),
        2,
    ),
    "encoder_couplings_l3": (
        encoder_config([1, 16, 16], [1, 16, 16], 3, 1, [2, 3, 3, 4], width=5, split=False, prior=False),
        1,
    ),
    "encoder_all_l2": (
        encoder_config([1, 8, 16], [2, 8, 8], 2, 1, [3, 4, 5], width=5, more=["injector", "actnorm", "invconv"]),
        3,
    ),
    "encoder_residual_l2": (
        encoder_config([2, 8, 16], [2, 8, 8], 2, 1, [3, 3, 4], width=5, head=(2, "squared_error", 0.5)),
        2,
    ),
    "gray_l4_prior": case([1, 8, 16], [1, 16, 32], 4, 1, batch=3, n_w=4, width=5, learned_prior=True),
}


def numbered(prefix, tensors):
    return {f"{prefix}.{i}": t for i, t in enumerate(tensors, 1)}


def head_tensors(d):
    if d.target is None:
        return {}
    classes = not d.target.is_floating_point()
    return {"input.head": d.target.double() + 1 if classes else d.target, "output.head_loss": d.head_loss.view(1)}


def golden_tensors(d):
    return {
        **d.model.state_dict(),
        "input.x": d.x,
        "input.y": d.y,
        **head_tensors(d),
        **numbered("latent", d.zs),
        "output.logp": d.logp,
        "output.loss": d.loss.view(1),
        **{f"grad.{name}": g for name, g in d.grads.items()},
        **numbered("decode.zs", d.drawn_zs),
        "decode.y": d.decoded,
    }


def write_case(folder, name, config, batch):
    def report(seed, broken):
        print(f"{name}: seed {seed} passed over: {', '.join(broken)}")

    d, figures = first_fit(config, batch, report)
    check_draw(d)
    path = folder / f"{name}.safetensors"
    metadata = {"config": json.dumps(config, separators=(",", ":")), "seed": str(d.seed)}
    safetensors_f64.write(path, golden_tensors(d), metadata)
    size = path.stat().st_size
    print(f"{name}: seed {d.seed}, {size} bytes;", ", ".join(f"{k} {v:.2g}" for k, (v, _) in figures.items()))
    return size


def main():
    default = pathlib.Path(__file__).resolve().parent.parent / "golden"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)
    check_oracle()
    total = sum(write_case(folder, name, *c) for name, c in CASES.items())
    if total > SIZE_LIMIT:
        raise RuntimeError(f"{total} bytes of golden vectors are more than {SIZE_LIMIT}")
    print(f"{len(CASES)} files, {total} bytes")


if __name__ == "__main__":
    main()
