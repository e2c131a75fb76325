"""Adaptive softmax: many classes, most of them rare."""
from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING

from fastnn.nn import functional as F
from fastnn.nn.container import ModuleList, Sequential
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module
from fastnn.ops.joining import cat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Device, DTypeArgument

__all__ = ["AdaptiveLogSoftmaxWithLoss"]

ASMoutput = namedtuple("ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-softmax over a short list of frequent classes and clusters of rarer ones, and its loss.

    Parameters
    ----------
    in_features : int
    n_classes : int
    cutoffs : sequence of ints
        Increasing class numbers at which the clusters begin; classes below the first are the short list.
    div_value : float, default 4
        The i-th cluster projects to in_features / div_value^(i + 1) first.
    head_bias : bool, default False

    References
    ----------
    Grave et al., Efficient softmax approximation for GPUs, arXiv:1609.04309.
    """

    def __init__(self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0,
                 head_bias: bool = False, device: Device = None, dtype: DTypeArgument = None) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (cutoffs != sorted(set(cutoffs)) or cutoffs[0] <= 0 or cutoffs[-1] > n_classes - 1
                or any(int(c) != c for c in cutoffs)):
            raise ValueError("cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where "
                             "each value is between 1 and n_classes-1")
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = cutoffs[0]
        self.n_clusters = len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, device=device, dtype=dtype)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden = int(in_features // div_value ** (i + 1))
            classes = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(Sequential(Linear(in_features, hidden, bias=False, device=device, dtype=dtype),
                                        Linear(hidden, classes, bias=False, device=device, dtype=dtype)))

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for narrow_and_wide in self.tail:
            for layer in narrow_and_wide.children():
                layer.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> ASMoutput:
        """Log-probability of every row's target, and the mean of their negatives."""
        if target.ndim > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if input.ndim != target.ndim + 1:
            raise RuntimeError(f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found inputs with "
                               f"size {input.shape}")
        batched = target.ndim == 1
        rows, labels = (input, target) if batched else (input.unsqueeze(0), target.unsqueeze(0))
        if rows.shape[0] != labels.shape[0]:
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        picked = labels.detach().numpy()
        if picked.size and (picked.min() < 0 or picked.max() >= self.n_classes):
            raise RuntimeError(f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                               f"[{picked.min()}, {picked.max()}] were found. ")
        full = self.log_prob(rows)
        output = -F.nll_loss(full, labels, reduction="none")
        return ASMoutput(output if batched else output.squeeze(0), (-output).mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """Log-probabilities of all classes, (N, n_classes)."""
        head = F.log_softmax(self.head(input), dim=1)
        parts = [head[:, :self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            place = self.shortlist_size + i
            parts.append(F.log_softmax(cluster(input), dim=1) + head[:, place:place + 1])
        return cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of every row."""
        return self.log_prob(input).argmax(1)
