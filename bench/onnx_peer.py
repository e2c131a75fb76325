"""A torch Sequential as an onnxruntime session: the graph is written by hand, so that no exporter is needed."""
import numpy as np


def session(model, inputs, threads):
    """A function from the input array to the output array."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, here = [], [], "x"
    for i, layer in enumerate(model):
        kind, parameters = type(layer).__name__, []
        if kind == "Dropout":
            continue
        if kind == "Linear":
            op, options, parameters = "Gemm", {"transB": 1}, [layer.weight, layer.bias]
        elif kind == "BatchNorm1d":
            op, options = "BatchNormalization", {"epsilon": layer.eps}
            parameters = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
        else:
            op, options = {"ReLU": "Relu", "Sigmoid": "Sigmoid"}[kind], {}
        names = [f"w{i}_{k}" for k in range(len(parameters))]
        weights += [numpy_helper.from_array(np.ascontiguousarray(p.detach().numpy()), n) for p, n in zip(parameters, names)]
        nodes.append(helper.make_node(op, [here, *names], [f"y{i}"], **options))
        here = f"y{i}"
    graph = helper.make_graph(nodes, "model", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", inputs])],
                              [helper.make_tensor_value_info(here, TensorProto.FLOAT, None)], weights)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    ready = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x: ready.run(None, {"x": x})[0]
