#!/usr/bin/python3
"""Holds cglow.npy and cglow.load_tensors against NumPy and safetensors' layout, by hand:

    /usr/bin/python3 spec/tools/npy.py

Every type in every byte order, order of dimensions and number of dimensions is written
by NumPy, read by cglow, written again by cglow in the same type and compared.
"""
import itertools
import subprocess
import tempfile

import numpy as np

LUA = """
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./lua/?.so;" .. package.cpath
local npy = require("cglow").npy
for line in io.lines() do
  local t, kind = assert(npy.load(line))
  assert(npy.save(line .. ".again", t, {dtype = kind}))
end
"""


def arrays():
    rng = np.random.default_rng(3)
    for name in ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]:
        for order, shape in itertools.product("<>", [(), (1,), (7,), (2, 3), (4, 1, 5), (2, 3, 4, 5)]):
            kind = np.dtype(name).newbyteorder(order)
            if name[0] == "f":
                a = rng.normal(size=shape).astype("f4").astype(kind) if name != "f2" else rng.normal(size=shape).astype(kind)
            elif name == "?":
                a = rng.integers(0, 2, size=shape).astype(kind)
            else:
                info = np.iinfo(kind)
                low, high = max(info.min, -(2**24)), min(info.max, 2**24)
                a = rng.integers(low, high, size=shape, endpoint=True).astype(kind)
            yield a
            yield np.asfortranarray(a)


def main():
    with tempfile.TemporaryDirectory() as folder:
        written = []
        for i, a in enumerate(arrays()):
            path = f"{folder}/{i}.npy"
            with open(path, "wb") as f:
                np.lib.format.write_array(f, np.asarray(a), version=[(1, 0), (2, 0), (3, 0)][i % 3])
            written.append((path, np.asarray(a)))
        subprocess.run(["lua5.4", "-e", LUA], input="\n".join(p for p, _ in written), text=True, check=True)
        for path, a in written:
            again = np.load(path + ".again")
            want = a.reshape(a.shape or (1,))
            assert again.shape == want.shape and again.dtype == want.dtype.newbyteorder("="), path
            assert np.array_equal(again, want), path
        print(f"{len(written)} arrays, each the same after cglow read and wrote it")


main()
