-- Made by spec/tools/core_help.lua from the comments in csrc: do not edit.
return {
["cglow.Tensor"] = [====[
/*** Tensors: dense arrays of numbers with one to four dimensions, in row-major
order. Images are C×H×W, batches N×C×H×W. Indices count from 1.

`cglow.tensor`, `cglow.zeros` and the like make them; `print` shows shape, range
and a corner of the numbers.
@module cglow.Tensor */
/*** A tensor with the numbers of a Lua table.
@function tensor
@tparam table numbers a list, or lists nested up to four levels; all of one
level equally long
@treturn Tensor */
/*** A tensor of zeros.
@function zeros
@param ... the shape: one to four positive integers, or one list of them
@treturn Tensor */
/*** A tensor of ones.
@function ones
@param ... the shape: one to four positive integers, or one list of them
@treturn Tensor */
/*** A tensor whose numbers are whatever its memory held: to be written first.
@function empty
@param ... the shape: one to four positive integers, or one list of them
@treturn Tensor */
/*** A tensor of one number.
@function full
@param ... the shape: one to four positive integers, or one list of them
@number value
@treturn Tensor */
/*** A tensor of numbers uniform in [0, 1).
@function rand
@param ... the shape: one to four positive integers, or one list of them
@tparam[opt] Rng rng after the shape; the default generator when absent
@treturn Tensor */
/*** A tensor of numbers from N(0, 1).
@function randn
@param ... the shape: one to four positive integers, or one list of them
@tparam[opt] Rng rng after the shape; the default generator when absent
@treturn Tensor */
/*** What tensors have cost so far in this Lua state: made, not alive.
@function stats
@treturn {tensors=int,bytes=int} */
/*** `t[i]`: the number at i of a 1-D tensor, otherwise row i of the first
dimension as a view. `t[i] = v` sets it: to a number (every number of the row)
or a tensor of the row's shape. `#t` is the size of the first dimension;
`for i, row in ipairs(t)` and `pairs(t)` go through it: as in a list, `t[#t + 1]` is
nil. Any other index outside 1 .. #t raises.
@class field
@name Tensor:index */
/*** One number.
@function Tensor:get
@param ... as many indices as there are dimensions, from 1 on
@treturn number */
/*** Set one number.
@function Tensor:set
@param ... as many indices as there are dimensions, from 1 on
@number value after the indices
@treturn Tensor itself */
/*** The shape.
@function Tensor:size
@int[opt] dim a dimension, from 1 on
@treturn {int,...}|int all sizes as a list, or one */
/*** How many dimensions, 1 to 4.
@function Tensor:dim
@treturn int */
/*** How many numbers.
@function Tensor:count
@treturn int */
/*** All numbers as one flat list, the last dimension running fastest.
@function Tensor:totable
@treturn {number,...} */
/*** The same numbers in another shape, as a view: writing to it writes to this.
@function Tensor:reshape
@param ... integers or one list; one of them may be -1: whatever is left
@treturn Tensor */
/*** Part of a tensor along one dimension.
A view when every dimension before `dim` has size 1 (so always for the first
one), otherwise a copy.
@function Tensor:narrow
@int dim dimension, from 1 on
@int start first index to keep
@int length how many to keep
@treturn Tensor of as many dimensions */
/*** One index of one dimension, which the result does not have any more.
A view when every dimension before `dim` has size 1, otherwise a copy.
@function Tensor:select
@int dim dimension, from 1 on
@int index from 1 on
@treturn Tensor|number a number when the tensor has one dimension */
/*** A copy with memory of its own.
@function Tensor:clone
@treturn Tensor */
/*** Take over another tensor's numbers.
@function Tensor:copy
@tparam Tensor source of the same shape; may share memory
@treturn Tensor itself */
/*** Set every number.
@function Tensor:fill
@number value
@treturn Tensor itself */
/*** Set every number to 0.
@function Tensor:zero
@treturn Tensor itself */
/*** A copy with its dimensions in another order.
@function Tensor:permute
@param ... each dimension once: (3, 1, 2) makes the third one the first
@treturn Tensor */
/*** A copy with two dimensions exchanged.
@function Tensor:transpose
@int a dimension, from 1 on
@int b dimension
@treturn Tensor */
/*** Join tensors along one dimension; the others must agree.
@function cat
@tparam {Tensor,...} list
@int[opt=1] dim dimension, from 1 on
@treturn Tensor */
/*** Put tensors of one shape beside each other along a new first dimension.
@function stack
@tparam {Tensor,...} list each of at most three dimensions
@treturn Tensor of one dimension more */
/*** `+ - * /` and unary minus work number by number and give a new tensor:
between a tensor and a number in either order, or two tensors of the same
shape; nothing is broadcast.
@class field
@name Tensor:operators */
/*** 1 where this is greater, 0 elsewhere (also where either is NaN).
@function Tensor:gt
@tparam number|Tensor other a tensor must have the same shape
@treturn Tensor */
/*** 1 where this is less, 0 elsewhere (also where either is NaN).
@function Tensor:lt
@tparam number|Tensor other a tensor must have the same shape
@treturn Tensor */
/*** 1 where both are equal, 0 elsewhere (also where either is NaN).
@function Tensor:eq
@tparam number|Tensor other a tensor must have the same shape
@treturn Tensor */
/*** Add in place: this + scale·other.
@function Tensor:add
@tparam number|Tensor other a tensor must have the same shape
@number[opt=1] scale
@treturn Tensor itself */
/*** Multiply in place, number by number.
@function Tensor:mul
@tparam number|Tensor other a tensor must have the same shape
@treturn Tensor itself */
/*** e to the power of each number, as a new tensor.
@function Tensor:exp
@treturn Tensor */
/*** Natural logarithm, as a new tensor; -inf of 0 and NaN of negative numbers.
@function Tensor:log
@treturn Tensor */
/*** Absolute values, as a new tensor.
@function Tensor:abs
@treturn Tensor */
/*** Square roots, as a new tensor; NaN of negative numbers.
@function Tensor:sqrt
@treturn Tensor */
/*** Nearest integers, halves away from zero, as a new tensor.
@function Tensor:round
@treturn Tensor */
/*** Largest integers that are not greater, as a new tensor.
@function Tensor:floor
@treturn Tensor */
/*** -1, 0 or 1, as a new tensor.
@function Tensor:sign
@treturn Tensor */
/*** Numbers below lo become lo, those above hi become hi, as a new tensor.
@function Tensor:clamp
@number lo may be -math.huge
@number hi at least lo; may be math.huge
@treturn Tensor */
/*** A Lua function applied to each number, as a new tensor.
@function Tensor:map
@tparam func f takes a number, returns a number
@treturn Tensor */
/*** Is every number finite, neither infinite nor NaN?
@function Tensor:isfinite
@treturn bool */
/*** Same shape and all numbers equal?  The same as `==`.
NaN equals nothing, so a tensor with NaN does not equal its copy.
@function Tensor:equal
@tparam Tensor other
@treturn bool */
/*** The sum, formed in double precision.
@function Tensor:sum
@int[opt] dim sum along this dimension only, which the result does not have
@treturn number|Tensor a number without `dim`, or of a 1-D tensor */
/*** The mean, formed in double precision.
@function Tensor:mean
@int[opt] dim average along this dimension only, which the result does not have
@treturn number|Tensor a number without `dim`, or of a 1-D tensor */
/*** Standard deviation: the root of the mean squared distance from the mean
(divided by the count, not by one less).
@function Tensor:std
@treturn number */
/*** Euclidean norm: the root of the sum of squares.
@function Tensor:norm
@treturn number */
/*** The largest number and where it is; NaN when there is one.
@function Tensor:max
@int[opt] dim along this dimension only, which the results do not have
@treturn number|Tensor
@treturn int|Tensor index from 1 on (the first of several), into the flat
numbers without `dim` */
/*** The smallest number and where it is; NaN when there is one.
@function Tensor:min
@int[opt] dim along this dimension only, which the results do not have
@treturn number|Tensor
@treturn int|Tensor index from 1 on (the first of several), into the flat
numbers without `dim` */
/*** Where the largest number is: the second result of `Tensor:max`.
@function Tensor:argmax
@int[opt] dim
@treturn int|Tensor index from 1 on */
/*** Where the smallest number is: the second result of `Tensor:min`.
@function Tensor:argmin
@int[opt] dim
@treturn int|Tensor index from 1 on */
]====],
["cglow.Rng"] = [====[
/*** Random numbers: a counter-based generator (Philox 4x32-10), so that a state
is a seed and a position, and the numbers do not depend on the number of threads.
@module cglow.Rng */
/*** A random generator of its own: Philox4x32-10, counter based.
The same seed gives the same numbers on any machine and any number of threads.
@function Rng
@int seed any integer; different seeds give independent streams
@treturn Rng */
/*** Seed the default generator (seed 0 until then) and start it at its beginning.
@function seed
@int seed any integer */
/*** The default generator, which everything uses that is given none.
@function rng
@treturn Rng */
/*** Numbers uniform in [0, 1), multiples of 2^-24 (2^-53 in the double build).
@function Rng:uniform
@param[opt] ... a shape: integers or one list
@treturn number|Tensor one number, or a new tensor of that shape */
/*** Numbers from the normal distribution N(0, 1).
@function Rng:normal
@param[opt] ... a shape: integers or one list
@treturn number|Tensor one number, or a new tensor of that shape */
/*** Fill a tensor in place with numbers uniform in [0, 1); allocates nothing.
@function Rng:fill_uniform
@tparam Tensor t
@treturn Tensor t */
/*** Fill a tensor in place with numbers from N(0, 1); allocates nothing.
@function Rng:fill_normal
@tparam Tensor t
@treturn Tensor t */
/*** An integer, every one from lo to hi equally likely.
@function Rng:integer
@int lo
@int hi at least lo
@treturn int */
/*** The integers 1 to n in random order (Fisher-Yates).
@function Rng:permutation
@int n 0 or more
@treturn {int,...} */
/*** The next four 32-bit words of the stream.
@function Rng:block
@treturn int
@treturn int
@treturn int
@treturn int each in 0 .. 2^32 − 1 */
/*** The whole state as a short printable string.
@function Rng:state
@treturn string "philox4x32-10:seed:position", both in decimal */
/*** Continue exactly where a generator was when it gave this state.
@function Rng:set_state
@string state as `Rng:state` returned it
@treturn Rng itself */
/*** The block function itself, for comparison with published test vectors.
@function philox
@int c0 counter, four 32-bit words from the lowest on
@int c1
@int c2
@int c3
@int k0 key, two words
@int k1
@treturn int
@treturn int
@treturn int
@treturn int four 32-bit words */
]====],
["cglow.Param"] = [====[
/*** Trainable parameters.
@module cglow.Param */
/*** The gradient counts as zero from now on.
@function Param:zero_grad */
/*** The gradients of all these count as zero from now on.
@function zero_grad
@tparam {Param,...} parameters */
/*** A trainable parameter: a name, a value and a gradient of the same shape.
For layers written in Lua; C layers make their own.
@function Param
@tparam Tensor value its numbers are copied
@string[opt="param"] name
@treturn Param with fields `name`, `value`, `grad` (formed when asked for),
`has_grad` (false while the gradient is zero by construction), `step_scale` (1:
what optimizers made from now on multiply their step size by) */
/*** How many numbers the parameters made from now on may hold together, so that
a small file cannot ask for a large model; making more raises.
@function parameter_limit
@int[opt] n 0 or more; nil: any number */
]====],
["cglow.Net"] = [====[
/*** Networks in C. `cglow.nn` makes them.
@module cglow.Net */
/*** The network's parameters, in the order of its layers.
@function Net:parameters
@string[opt] prefix when given, each parameter is renamed to prefix .. its place
in this network, e.g. `conv1.weight`
@treturn {Param,...} */
/*** Run the network.
@function Net:forward
@tparam Tensor x N×C×H×W, or N×F for networks that begin with a linear layer
@treturn Tensor the output, owned by the network: the next forward overwrites
it, so clone it to keep it */
/*** Back-propagate through the last `forward`: adds to every parameter's
gradient.
@function Net:backward
@tparam Tensor dout gradient with respect to the output, of its shape
@bool[opt=true] want_din false saves the work for the input's gradient
@treturn Tensor gradient with respect to x, owned by the network (nil when not
wanted) */
/*** What comes out for a given input shape, without running.
@function Net:output_shape
@tparam {int,...} shape of one sample: {C, H, W} or {F}
@treturn {int,...} shape of one output sample, or nil and the reason */
/*** Run every network on x.
@function NetGroup:forward
@tparam Tensor x N×C×H×W
@treturn {Tensor,...} the outputs in order; table and tensors belong to the
group and are overwritten by the next call */
/*** Back-propagate through every network; their parameters' gradients grow.
The gradient with respect to x is not formed.
@function NetGroup:backward
@tparam {Tensor,...} douts gradients with respect to the outputs, in order */
]====],
["cglow.flow"] = [====[
/*** Flow layers in C: invertible, with the log-determinant of their Jacobian.

In Lua a flow layer is anything with these four methods; N is the batch size:

* `z, logdet = layer:forward(y, cond, keep)`: `logdet` is a list of N numbers;
  `keep` (default true) is false when no backward will follow
* `y = layer:inverse(z, cond)`
* `dy, dcond = layer:backward(dz, g)`: through the last forward, the gradient of
  a loss with gradient `dz` with respect to z and `g` with respect to logdet (a
  number for every sample, or a list of N); adds to the parameters' gradients
* `params = layer:parameters(prefix)`: a list of `Param`

`cond` is the condition, nil for an unconditional layer. Tensors that a layer
returns belong to it and are overwritten by its next call.
@module cglow.flow */
/*** A flow layer's own parameters (those of conditioning networks excepted).
@function Flow:parameters
@string[opt] prefix when given, each parameter is renamed to prefix .. its name
@treturn {Param,...} */
/*** Space to channels: N×C×H×W to N×4C×H/2×W/2 (design section 2, squeeze).
@function squeeze
@return a flow layer without parameters, log-det 0 */
/*** Set the parameters of an unconditional layer so that each channel of a batch comes
out with mean 0 and variance 1 (Glow, section 3.1).
@function ActNorm:start
@tparam Tensor y N×C×H×W */
/*** Activation normalisation, z = (y + b)·exp(s) per channel (design section
2; Glow, equation of section 3.1).
@function actnorm
@int channels C
@bool conditional true: the condition is N×2C and (s, b) = tanh of its halves;
false: s and b are the parameters `logs` and `bias`
@return a flow layer on N×C×H×W */
/*** Everything of the inverse that depends on the condition alone: the
inverses of W, for many samples to come.
@function InvConv:prepare
@tparam[opt] Tensor cond N×C·C
@treturn Tensor N×C×C for `inverse_prepared` */
/*** The inverse, from what `prepare` made.
@function InvConv:inverse_prepared
@tparam Tensor z N×C×H×W
@tparam Tensor prepared for N samples, or for fewer that divide N
@treturn Tensor y */
/*** How close each W of a condition is to singular.
@function InvConv:diagnose
@tparam[opt] Tensor cond N×C·C
@treturn {number,...} log|det W| of each
@treturn {number,...} reciprocal condition number (1-norm) of each, 0 when
singular */
/*** Invertible 1×1 convolution, z = W y at every pixel (design section 2; Glow
section 3.2).
@function invconv
@int channels C
@bool conditional true: the condition is N×C·C and W = tanh of it, row-major;
false: W is the parameter `weight`, C×C
@return a flow layer on N×C×H×W */
/*** The part of the first convolution that depends on the condition alone, for
many samples to come.
@function Coupling:prepare
@tparam Tensor hx N×cond×H×W; with features, what is added to the first convolution
@treturn Tensor N×width×H×W for `inverse_prepared` (without condition: nil; with
features: a copy of the argument) */
/*** The inverse, from what `prepare` made.
@function Coupling:inverse_prepared
@tparam Tensor z N×C×H×W
@tparam ?Tensor pre for N samples, or for fewer that divide N
@treturn Tensor y */
/*** Let this layer keep its hidden activations where another keeps its own, to
save memory: backward then runs the network again where they were overwritten.
@function Coupling:share_store
@param other another coupling layer */
/*** End what `share_store` began: keep hidden activations for oneself again.
@function Coupling:own_store */
/*** Affine coupling, z2 = (y2 + t)·σ (Lu & Huang 2020, section 3.2; Glow section 3.3).
With features of x its condition is width×N×H×W, what a 1×1 convolution of the features
adds to the output of the first convolution, and `backward` takes a third argument, the
tensor that the condition's gradient is written to.
@function coupling
@int channels C of y, at least 2
@int cond channels of the condition hx; 0: unconditional, or with features
@int width channels of the two hidden layers
@number[opt=0] bound α: shift t without bound, log σ = α·tanh(r/α); 0: t through tanh
and σ = sigmoid(r + 2) with r through tanh, as published
@bool[opt=false] features the condition is added to the first convolution
@return a flow layer on N×C×H×W with condition N×cond×H×W */
/*** Split the channels and score the second half.
@function Split:forward
@tparam Tensor y N×C×H×W
@tparam ?Tensor added what features of x add, 2·⌈C/2⌉×N×H×W
@treturn Tensor z1, goes on
@treturn Tensor z2, sent off
@treturn {number,...} log N(z2; m(z1), exp(s(z1))²) of each sample, nats */
/*** Put the halves together again.
@function Split:inverse
@tparam Tensor z1
@tparam Tensor z2
@treturn Tensor y */
/*** Draw the second half, z2 = m + exp(s)·temperature·eps, and join.
@function Split:sample
@tparam Tensor z1
@tparam Tensor eps standard normal numbers, of z2's shape
@number temperature
@tparam ?Tensor added as for `forward`, for N samples or for fewer that divide N
@treturn Tensor y */
/*** Gradient of g·log-density of the last `forward`.
@function Split:backward
@tparam Tensor dz1
@param g number, or list of N numbers
@tparam ?Tensor dadded where the gradient of what features add is written
@treturn Tensor dy, N×C×H×W */
/*** Split (Lu & Huang 2020, section 3.2): half of the channels leave, scored by a
Gaussian whose moments a convolution reads off the other half.
@function split
@int channels C, at least 2
@number[opt=0] bound β: features of x add to the convolution, the mean is free and the
log-scale β·tanh(·/β); 0: no features, and both through tanh
@return an object with forward, inverse, sample, backward, parameters */
/*** Score the last latent.
@function Prior:log_prob
@tparam Tensor z N×C×H×W
@tparam ?Tensor added what features of x add, 2C×N×H×W
@treturn {number,...} log density of each sample, nats */
/*** Gradient of g·log-density of the last `log_prob`.
@function Prior:backward
@param g number, or list of N numbers
@tparam ?Tensor dadded where the gradient of what features add is written
@treturn Tensor dz */
/*** Draw z = mean + exp(logs)·temperature·eps.
@function Prior:sample
@tparam Tensor eps N×C×H×W standard normal numbers
@number temperature
@tparam ?Tensor added as for `log_prob`, for N samples or for fewer that divide N
@treturn Tensor z */
/*** The prior on the last latent.
@function prior
@int channels C
@int height H; 0: any, and so for the width
@int width W
@bool learned false: N(0, 1); true: parameters `mean` and `logs`, C×H×W
@number[opt=0] bound β: features of x give mean and log-scale, with a parameter `bias`
for both, 2C, and the log-scale β·tanh(·/β)
@return an object with log_prob, sample, backward, parameters */
]====],
["cglow.core"] = [====[
/*** What the C core offers besides its objects.
@module cglow.core */
/*** What kind of object v is.
@function type
@param v any value
@treturn string e.g. "cglow.Tensor" or "cglow.Net"; for other values Lua's type */
/*** How many threads the kernels use; the process's setting, not one Lua
state's. At first OpenMP's default, so OMP_NUM_THREADS is respected. Results do
not depend on it.
@function threads
@int[opt] n from 1 to 1024: set it
@treturn int the number in force */
/*** What the machine can do at most: fused multiply-adds on registers alone,
on every thread, for the given time.
@function peak_flops
@number[opt=0.2] seconds to measure
@treturn number flop/s of the library's scalar type, all threads together */
/***
Gradients that several processes share.
@module cglow.core
*/
/***
Is the gradient of a parameter an outer product of as many rows as there are samples?
Those of fully connected layers' weights are, and are kept as their factors.
@function is_outer_product
@tparam Param p
@treturn boolean
*/
/***
The factors of gradients of n samples in each of several processes: each packs its own,
gets all, and unpacks them; then the gradients are those of all samples.
@function gradient_factors
@tparam {Param,...} params for all of which `is_outer_product` is true
@tparam integer n samples in each process
@tparam integer processes
@treturn GradientFactors
*/
/***
What is sent and what comes.
@function GradientFactors:tensors
@treturn Tensor this process's factors
@treturn Tensor processes × as many: those of all
*/
/***
To be called when the gradients count as zero, before they are computed: they will be kept
as factors although Lua may have seen them. Whoever holds a `p.grad` asks for it anew.
@function GradientFactors:begin
*/
/***
Write this process's factors into its tensor.
@function GradientFactors:pack
@tparam number scale what the gradients are multiplied by, e.g. 1/processes for a mean
@raise when a gradient is none of n samples
*/
/***
Make the gradients those of all processes' samples.
@function GradientFactors:unpack
*/
/***
The dense gradients of parameters as one flat tensor, in which they lie from now on.
@function gradient_flat
@tparam {Param,...} params
@treturn GradientFlat
*/
/***
The flat tensor; numbers between the parameters are 0.
@function GradientFlat:tensor
@treturn Tensor
*/
/***
See that the tensor holds the gradients, also those that count as zero or are kept as
factors.
@function GradientFlat:complete
*/
]====],
["cglow.core.file"] = [====[
/*** Files that hold tensors: written whole or not at all, read without trust.
@module cglow.core.file */
/*** Open a file to append to, made when it is not there.
@function file.append
@tparam string path
@treturn[1] Append with `write(text)`, `sync()` and `close()`
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer code */
/*** Append text; all of it, or none when the disk is full.
@function Append:write
@tparam string text
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer code */
/*** Wait until what was appended has reached the disk.
@function Append:sync
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer code */
/*** Hold a lock file until it is closed, collected, or the process ends; the
file itself stays. A child made by `fork` shares its parent's lock.
@function file.lock
@tparam string path made when it is not there
@treturn[1] Lock with `close()`
@treturn[2] nil when someone else holds it, or the file cannot be made
@treturn[2] string message
@treturn[2] integer code */
/*** CRC-32C of a string, or of a tensor's numbers as they lie in memory.
@function file.crc32c
@tparam string|Tensor data
@treturn integer 0 to 2^32 - 1 */
/*** Does the string a come before b, byte by byte? What is written to files is in this
order: `<` has the order of the locale, another one elsewhere.
@function file.before
@tparam string a
@tparam string b
@treturn boolean */
/*** Open a regular file for reading at any place. The messages of the
reader's methods do not name the file: their caller knows more to say.
@function file.open
@tparam string path
@treturn[1] Reader with `size()`, `read(at, n)`, `read_tensor(…)`, `close()`
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer code */
/*** Size of the file in bytes.
@function Reader:size
@treturn integer */
/*** Read bytes.
@function Reader:read
@tparam integer at offset from 0
@tparam integer n how many
@treturn[1] string n bytes
@treturn[2] nil when they are not all there
@treturn[2] string message
@treturn[2] integer code */
/*** Read a new tensor. Numbers stored in the other precision are converted.
@function Reader:read_tensor
@tparam integer at offset from 0, in bytes
@tparam string dtype "F32" or "F64", little-endian
@tparam {integer,...} shape
@treturn[1] Tensor
@treturn[1] integer CRC-32C of the bytes as stored
@treturn[2] nil when they are not all there, or too large for the core's numbers
@treturn[2] string message
@treturn[2] integer code */
/*** Begin a file that takes its place only when `commit` is called. A link at
the path is replaced, not followed.
@function file.create
@tparam string path
@treturn[1] Writer with `write`, `write_tensor`, `commit`, and `close`, which
drops what was not committed
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer code */
/*** Write bytes.
@function Writer:write
@tparam string bytes
@tparam[opt] integer at offset from 0 of the bytes to write over; else at the end
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer code */
/*** Write a tensor's numbers as they lie in memory: little-endian, F32 (F64 in
the double build).
@function Writer:write_tensor
@tparam Tensor tensor
@treturn[1] boolean true
@treturn[1] integer CRC-32C of the bytes written
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer code */
/*** Put the file in its place and close the writer.
@function Writer:commit
@tparam[opt=true] boolean sync wait until the file and its name are on the disk
@treturn[1] boolean true
@treturn[2] nil; nothing is left behind
@treturn[2] string message
@treturn[2] integer code */
/*** Replace a whole file by this text: readers see the old or the new one,
never a part.
@function file.write
@tparam string path
@tparam string text
@tparam[opt=true] boolean sync wait until it is on the disk
@treturn[1] boolean true
@treturn[2] nil; the old file, if any, is untouched
@treturn[2] string message
@treturn[2] integer code */
]====],
["cglow.core.system"] = [====[
/***
The process and the machine.
@module cglow.core.system
*/
/***
Seconds on a clock that only goes forward; its zero means nothing.
@function clock
@treturn number seconds
*/
/***
Memory of this process.
@function memory
@treturn number resident bytes now (the peak where the system tells no more)
@treturn number peak resident bytes so far
*/
/***
Is one of the standard streams a terminal?
@function isatty
@tparam integer fd 0 input, 1 output, 2 errors
@treturn boolean
*/
/***
Width of the terminal behind a standard stream.
@function columns
@tparam integer fd 0 input, 1 output, 2 errors
@treturn ?integer columns; nil when it is no terminal or does not say
*/
/***
The machine, in words and numbers.
@function machine
@treturn table `cpu` (its name, or the architecture where the system has no
name for it), `instructions` (which of the kernels' variants it runs: "AVX-512", "AVX2" or
"any"), `cores` (that are online), `memory` (bytes), `system` (name and release)
*/
/***
The signal that came since the catch began.
@function Catch:received
@treturn ?string "INT" or "TERM"; nil while none has come
*/
/***
Keep Ctrl-C (SIGINT) and SIGTERM from ending the process until the result is
closed: the first one is only remembered, a second one acts as it did before.
Use it as `local catch <close> = system.catch_interrupt()`.
@function catch_interrupt
@tparam[opt] string message written to the error stream when the first comes,
at most 255 bytes
@treturn Catch
@raise when a catch is open already
*/
]====],
["cglow.mpi"] = [====[
/***
Message passing between the processes that train together, started with `mpirun`
or `srun`: each has a rank from 0 to size − 1. Loading the module starts MPI.

Every function but `rank`, `size` and their like must be called by all ranks, in the
same order. Sums are added up in the order of ranks, so that equal ranks give equal
bits, on every rank and with every MPI. An error of MPI's is raised and names the
function and the rank.

MPI ends with `close`, at the end of the block of a local variable that is `<close>` and
holds the module, or with the process. A process that ends with a failure ends all others,
because they would wait for it for ever.

@module cglow.mpi
*/
/***
This process's number.
@function rank
@treturn integer from 0 on
*/
/***
How many processes there are.
@function size
@treturn integer
*/
/***
How many of them run on this machine.
@function host_ranks
@treturn integer
*/
/***
Which MPI this is, e.g. "Open MPI v4.1.4".
@function library
@treturn string
*/
/***
Wait until all ranks have come here.
@function barrier
*/
/***
One rank's numbers or text for all.
@function broadcast
@tparam Tensor|string what a tensor, the same shape everywhere, is overwritten; of text
only the root's counts
@tparam[opt=0] integer root
@treturn Tensor|string the tensor, or the root's text
*/
/***
Sums of a few numbers over all ranks, in double precision. Allocates nothing.
@function sum
@tparam number ... up to 16
@treturn number ... as many sums
*/
/***
Every rank's text for all.
@function gather
@tparam string text
@treturn {string,...} rank 0's first
*/
/***
Add up a tensor over all ranks, and go on while that happens.

The tensor must be left alone until the transfer is done. Sums move on when `progress` or
a method of any transfer is called.
@function iallreduce
@tparam Tensor t of one shape everywhere; becomes the sum
@tparam[opt=1] number scale what the sum is multiplied by
@treturn Transfer under way; it may be started again when it is done
*/
/***
Add up a tensor over all ranks.
@function allreduce
@tparam Tensor t of one shape everywhere; becomes the sum
@tparam[opt=1] number scale what the sum is multiplied by
@treturn Tensor t
*/
/***
Every rank's tensor for all, and go on while that happens.
@function igather
@tparam Tensor own of one shape everywhere
@tparam Tensor all as many numbers as all ranks' together, rank 0's first
@treturn Transfer under way
*/
/***
Let what is under way move on; to be called now and then while something is computed.
@function progress
*/
/***
A sum or a gathering.
@type Transfer
*/
/***
Do the same once more, with the numbers that are there now.
@function Transfer:start
@raise when it is under way
*/
/***
Let what is under way move on.
@function Transfer:test
@treturn boolean is this one done?
*/
/***
Wait until it is done.
@function Transfer:wait
*/
/***
End MPI, together with all others. Later calls of this module are errors.
@function close
@raise when a transfer is under way
*/
/***
End the processes of all ranks at once, because this one cannot go on.
@function abort
@tparam[opt=1] integer status their exit status, from 1 to 255
*/
]====],
}
