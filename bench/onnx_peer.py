"""Networks as onnxruntime sessions: the graphs are written by hand from torch's modules, so that no exporter is needed."""
import numpy as np


class Graph:
    """Nodes and weights of a graph under construction."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def put(self, op, inputs, parameters=(), outputs=None, **options):
        """Append a node; the name of its result."""
        from onnx import helper, numpy_helper
        number = len(self.nodes)
        names = []
        for k, p in enumerate(parameters):
            names.append(f"w{number}_{k}")
            values = p.detach().numpy() if hasattr(p, "detach") else p
            self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), names[-1]))
        outputs = outputs or [f"y{number}"]
        self.nodes.append(helper.make_node(op, [*inputs, *names], outputs, **options))
        return outputs[0]

    def session(self, result, shape, threads):
        """A function from the input array to the output array."""
        import onnxruntime
        from onnx import TensorProto, helper
        graph = helper.make_graph(self.nodes, "model", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                                  [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)], self.weights)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        ready = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return lambda x: ready.run(None, {"x": x})[0]


def add(graph, layer, x):
    """Append a torch module to the graph; the name of its result."""
    kind = type(layer).__name__
    if kind == "Sequential":
        for part in layer:
            x = add(graph, part, x)
        return x
    if kind in ("Dropout", "Identity"):
        return x
    if kind == "Residual":
        return add(graph, layer.relu, graph.put("Add", [add(graph, layer.main, x), add(graph, layer.short, x)]))
    if kind == "Linear":
        return graph.put("Gemm", [x], [layer.weight, layer.bias], transB=1)
    if kind == "Conv2d":
        return graph.put("Conv", [x], [layer.weight] + [layer.bias] * (layer.bias is not None), kernel_shape=layer.kernel_size,
                         strides=layer.stride, pads=[*layer.padding, *layer.padding], group=layer.groups)
    if kind.startswith("BatchNorm"):
        return graph.put("BatchNormalization", [x], [layer.weight, layer.bias, layer.running_mean, layer.running_var], epsilon=layer.eps)
    if kind == "MaxPool2d":
        return graph.put("MaxPool", [x], kernel_shape=[layer.kernel_size] * 2, strides=[layer.stride] * 2)
    if kind == "AdaptiveAvgPool2d" and layer.output_size == 1:
        return graph.put("GlobalAveragePool", [x])
    return graph.put({"ReLU": "Relu", "Sigmoid": "Sigmoid", "Flatten": "Flatten"}[kind], [x])


def session(model, shape, threads):
    """A network as a function from a batch to its outputs."""
    graph = Graph()
    return graph.session(add(graph, model, "x"), ["n", *shape], threads)


def lstm_session(layer, threads):
    """A torch LSTM of one layer as a function from a sequence to its outputs."""
    def gates(p):       # torch has input, forget, cell, output; ONNX input, output, forget, cell
        i, f, c, o = np.split(p.detach().numpy(), 4)
        return np.concatenate([i, o, f, c])[None]
    biases = np.concatenate([gates(layer.bias_ih_l0), gates(layer.bias_hh_l0)], 1)
    graph = Graph()
    y = graph.put("LSTM", ["x"], [gates(layer.weight_ih_l0), gates(layer.weight_hh_l0), biases], hidden_size=layer.hidden_size)
    return graph.session(graph.put("Squeeze", [y], [np.array([1])]), ["t", "n", layer.input_size], threads)
