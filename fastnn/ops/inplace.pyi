from fastnn.ops import creation, elementwise, gather, linalg, logic, power, shape, sorting, special

__all__ = ["abs_", "absolute_", "acos_", "acosh_", "addbmm_", "addcdiv_", "addcmul_", "addmm_", "addmv_", "addr_",
           "asin_", "asinh_", "atan_", "atan2_", "atanh_", "baddbmm_", "bitwise_and_", "bitwise_not_", "bitwise_or_",
           "bitwise_xor_", "ceil_", "clamp_", "clamp_max_", "clamp_min_", "clip_", "cos_", "cosh_", "cumprod_",
           "cumsum_", "deg2rad_", "eq_", "erf_", "erfc_", "erfinv_", "exp_", "exp2_", "expm1_", "float_power_", "floor_",
           "floor_divide_", "fmod_", "frac_", "ge_", "gt_", "hypot_", "index_add_", "index_copy_", "index_fill_", "le_",
           "lerp_", "lgamma_", "log_", "log10_", "log1p_", "log2_", "logical_and_", "logical_not_", "logical_or_",
           "logical_xor_", "lt_", "masked_fill_", "masked_scatter_", "nan_to_num_", "ne_", "neg_", "negative_", "pow_",
           "rad2deg_", "reciprocal_", "remainder_", "round_", "rsqrt_", "scatter_", "scatter_add_", "scatter_reduce_",
           "sign_", "sin_", "sinc_", "sinh_", "sqrt_", "square_", "squeeze_", "swapaxes_", "swapdims_", "t_", "tan_",
           "transpose_", "tril_", "triu_", "trunc_", "unsqueeze_", "xlogy_"]

# Each has the signature of the operation that it writes into its tensor.
abs_ = elementwise.abs
absolute_ = elementwise.abs
acos_ = elementwise.acos
acosh_ = elementwise.acosh
addbmm_ = linalg.addbmm
addcdiv_ = power.addcdiv
addcmul_ = power.addcmul
addmm_ = linalg.addmm
addmv_ = linalg.addmv
addr_ = linalg.addr
asin_ = elementwise.asin
asinh_ = elementwise.asinh
atan_ = elementwise.atan
atan2_ = power.atan2
atanh_ = elementwise.atanh
baddbmm_ = linalg.baddbmm
bitwise_and_ = logic.bitwise_and
bitwise_not_ = logic.bitwise_not
bitwise_or_ = logic.bitwise_or
bitwise_xor_ = logic.bitwise_xor
ceil_ = elementwise.ceil
clamp_ = elementwise.clamp
clamp_max_ = elementwise.clamp_max
clamp_min_ = elementwise.clamp_min
clip_ = elementwise.clamp
cos_ = elementwise.cos
cosh_ = elementwise.cosh
cumprod_ = sorting.cumprod
cumsum_ = sorting.cumsum
deg2rad_ = power.deg2rad
eq_ = elementwise.eq
erf_ = elementwise.erf
erfc_ = elementwise.erfc
erfinv_ = special.erfinv
exp_ = elementwise.exp
exp2_ = elementwise.exp2
expm1_ = elementwise.expm1
float_power_ = power.float_power
floor_ = elementwise.floor
floor_divide_ = power.floor_divide
fmod_ = power.fmod
frac_ = elementwise.frac
ge_ = elementwise.ge
gt_ = elementwise.gt
hypot_ = power.hypot
index_add_ = gather.index_add
index_copy_ = gather.index_copy
index_fill_ = gather.index_fill
le_ = elementwise.le
lerp_ = power.lerp
lgamma_ = elementwise.lgamma
log_ = elementwise.log
log10_ = elementwise.log10
log1p_ = elementwise.log1p
log2_ = elementwise.log2
logical_and_ = logic.logical_and
logical_not_ = logic.logical_not
logical_or_ = logic.logical_or
logical_xor_ = logic.logical_xor
lt_ = elementwise.lt
masked_fill_ = gather.masked_fill
masked_scatter_ = gather.masked_scatter
nan_to_num_ = logic.nan_to_num
ne_ = elementwise.ne
neg_ = power.neg
negative_ = power.neg
pow_ = power.pow
rad2deg_ = power.rad2deg
reciprocal_ = elementwise.reciprocal
remainder_ = power.remainder
round_ = elementwise.round
rsqrt_ = elementwise.rsqrt
scatter_ = gather.scatter
scatter_add_ = gather.scatter_add
scatter_reduce_ = gather.scatter_reduce
sign_ = elementwise.sign
sin_ = elementwise.sin
sinc_ = special.sinc
sinh_ = elementwise.sinh
sqrt_ = elementwise.sqrt
square_ = elementwise.square
squeeze_ = shape.squeeze
swapaxes_ = shape.transpose
swapdims_ = shape.transpose
t_ = shape.t
tan_ = elementwise.tan
transpose_ = shape.transpose
tril_ = creation.tril
triu_ = creation.triu
trunc_ = elementwise.trunc
unsqueeze_ = shape.unsqueeze
xlogy_ = power.xlogy
