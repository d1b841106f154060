"""Writes float64 tensors in the safetensors layout: header length (u64, little-endian), JSON header, raw data."""

import json
import struct


def write(path, tensors, metadata):
    """tensors: name → float64 tensor, stored in this order; metadata: string → string."""
    header, offset = {"__metadata__": metadata}, 0
    for name, t in tensors.items():
        size = 8 * t.numel()
        header[name] = {"dtype": "F64", "shape": list(t.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the data starts on a multiple of 8
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.detach().contiguous().numpy().astype("<f8").tobytes())
