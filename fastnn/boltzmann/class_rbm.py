"""Classification by a Boltzmann machine with label units."""
from fastnn.boltzmann.units import as_rows
from fastnn.nn import functional as F
from fastnn.nn import init
from fastnn.nn.linear import empty_parameter, empty_weight, float_dtype
from fastnn.nn.module import Module

__all__ = ["ClassRBM"]


class ClassRBM(Module):
    r"""p(y|x) proportional to exp(d_y + sum_j softplus(c_j + U_jy + W_j.x)), exact and without sampling.

    ``forward`` gives the logits, so `CrossEntropyLoss` trains the discriminative machine.

    Parameters
    ----------
    n_visible, n_hidden, n_classes : int
    device : None or "cpu"
    dtype : float32 or float64, default the default dtype

    Attributes
    ----------
    weight, label_weight : Parameter (n_hidden, n_visible), (n_hidden, n_classes)
    hbias, label_bias : Parameter (n_hidden,), (n_classes,)

    References
    ----------
    Larochelle and Bengio, Classification using discriminative restricted Boltzmann machines, ICML 2008.
    """

    def __init__(self, n_visible, n_hidden, n_classes, device=None, dtype=None):
        dtype = float_dtype(device, dtype)
        super().__init__()
        self.n_visible, self.n_hidden, self.n_classes = n_visible, n_hidden, n_classes
        self.weight = empty_weight(n_hidden, n_visible, dtype)
        self.label_weight = empty_parameter((n_hidden, n_classes), dtype)
        self.hbias = empty_parameter(n_hidden, dtype)
        self.label_bias = empty_parameter(n_classes, dtype)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw the weights from N(0, 0.01^2); biases become 0."""
        init.normal_(self.weight, 0, 0.01)
        init.normal_(self.label_weight, 0, 0.01)
        init.zeros_(self.hbias)
        init.zeros_(self.label_bias)

    def extra_repr(self):
        return f"{self.n_visible}, {self.n_hidden}, {self.n_classes}"

    def forward(self, x):
        x = as_rows(x, self.n_visible, self.weight.dtype, "ClassRBM")
        inputs = F.linear(x, self.weight, self.hbias).unsqueeze(2) + self.label_weight
        return F.softplus(inputs, 1.0, 40.0).sum(1) + self.label_bias
