from collections.abc import Sequence

from fastnn.core.tensor import Tensor

__all__ = ["batch_norm", "layer_norm", "rms_norm"]

def batch_norm(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
               bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Tensor: ...
def layer_norm(input: Tensor, normalized_shape: int | Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
               eps: float = 1e-5) -> Tensor: ...
def rms_norm(input: Tensor, normalized_shape: int | Sequence[int], weight: Tensor | None = None,
             eps: float | None = None) -> Tensor: ...

# ---- pieces of nn/batchnorm
def batch_norm_tracked(input: Tensor, running_mean: Tensor, running_var: Tensor, tracked: Tensor, weight: Tensor | None,
                       bias: Tensor | None, momentum: float | None, eps: float) -> Tensor: ...
