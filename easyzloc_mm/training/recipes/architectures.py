"""The networks, in backend-agnostic Keras 3.

References
----------
Bishop 1994, Mixture density networks, report NCRG/94/004, Aston University.
Howard et al. 2019, Searching for MobileNetV3, ICCV, doi 10.1109/ICCV.2019.00140.
Keys 1981, Cubic convolution interpolation for digital image processing, IEEE Transactions on Acoustics, Speech, and
Signal Processing 29, doi 10.1109/TASSP.1981.1163711.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.model.inputs import AUX_COLUMNS
from easyzloc_mm.model.mixture import CENTRES_UM, COMPONENTS, EMBEDDING, MIN_WIDTH_UM
from easyzloc_mm.typing import F32

if TYPE_CHECKING:
    import keras

PAPER_SIDE_PX = 64


def mixture_network(width: int = 320, blocks: int = 3, roi_px: int = ROI_PX) -> keras.Model:
    """Build the default network: a residual perceptron on the whole crop, with a mixture of Gaussians in z as output.

    The crop is always centred on its spot, so there is no translation to share weights over: dense layers reach a
    lower error than convolutions for the same training time, and run several times faster on a CPU.

    Returns
    -------
    keras.Model
        Inputs ``image`` (n, roi_px, roi_px, 1) and ``aux`` (n, 6); output (n, 3 * COMPONENTS + EMBEDDING): logits,
        means, raw widths (`read_mixture`), then the embedding by which spots are recognised as out of distribution.
    """
    import keras
    from keras import layers

    image = keras.Input((roi_px, roi_px, 1), name="image")
    aux = keras.Input((len(AUX_COLUMNS),), name="aux")
    x = layers.Concatenate()([layers.Flatten()(image), aux])
    x = layers.Dense(width)(x)
    for _ in range(blocks):
        y = layers.LayerNormalization()(x)
        y = layers.Dense(width, activation="relu")(y)
        x = layers.Add()([x, layers.Dense(width)(y)])
    x = layers.LayerNormalization()(x)
    embedding = layers.Dense(EMBEDDING, activation="relu")(x)
    mixture = layers.Dense(3 * COMPONENTS)(embedding)
    return keras.Model([image, aux], layers.Concatenate()([mixture, embedding]), name="matched")


def mixture_loss(z_um: object, raw: object) -> object:
    """Return the negative log likelihood of z (micrometres) under the mixture: a Keras loss."""
    from keras import ops

    target = ops.reshape(z_um, (-1, 1))
    logits = raw[:, :COMPONENTS]  # type: ignore[index]
    centres = ops.convert_to_tensor(CENTRES_UM.astype(np.float32))
    means = raw[:, COMPONENTS : 2 * COMPONENTS] + centres  # type: ignore[index]
    widths = ops.softplus(raw[:, 2 * COMPONENTS : 3 * COMPONENTS]) * 0.3 + MIN_WIDTH_UM  # type: ignore[index]
    log_density = ops.log_softmax(logits) - ops.log(widths) - 0.5 * ((target - means) / widths) ** 2
    return -ops.mean(ops.logsumexp(log_density, axis=1))


def paper_network() -> keras.Model:
    """Build the paper's network: MobileNetV3-small on 64x64, dense branch for the position, 3.4 M parameters.

    Layer sizes of the published scripts (dense 1024 and 32, dropout 0.5). Output (n, 1): z over the z range, tanh.
    ImageNet weights are used where Keras has them on disk or can download them; otherwise a warning says that training
    starts from random weights. GELU is the tanh form, since its exact form cannot be exported to ONNX.
    """
    import keras
    from keras import layers

    def gelu(x: object) -> object:
        return keras.activations.gelu(x, approximate=True)

    image = keras.Input((ROI_PX, ROI_PX, 1), name="image")
    position = keras.Input((2,), name="aux")
    x = layers.Reshape((ROI_PX, ROI_PX))(image)
    x = _bicubic()(x)
    x = layers.Reshape((PAPER_SIDE_PX, PAPER_SIDE_PX, 1))(x)
    x = layers.Concatenate()([x, x, x])
    x = layers.GaussianNoise(0.0017235)(x)
    x = layers.Rescaling(2.0, offset=-1.0)(x)
    x = layers.Flatten()(_backbone()(x))
    where = layers.Dense(64)(layers.Dense(64)(position))
    x = layers.Concatenate()([x, where])
    x = layers.Dropout(0.5)(layers.Dense(1024, activation=gelu)(x))
    x = layers.Dropout(0.5)(layers.Dense(32, activation=gelu)(x))
    return keras.Model([image, position], layers.Dense(1, activation="tanh")(x), name="paper")


def _backbone() -> keras.Model:
    import socket

    import keras

    shape = (PAPER_SIDE_PX, PAPER_SIDE_PX, 3)
    options = {"input_shape": shape, "include_top": False, "include_preprocessing": False}
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20.0)
    try:
        return keras.applications.MobileNetV3Small(weights="imagenet", **options)
    except Exception as error:  # Keras raises a bare Exception when a download fails
        warnings.warn(
            f"no ImageNet weights on disk and none could be downloaded ({type(error).__name__}): "
            "the paper's network starts from random weights",
            EasyZlocWarning,
            stacklevel=2,
        )
        return keras.applications.MobileNetV3Small(weights=None, **options)
    finally:
        socket.setdefaulttimeout(patience)


def _bicubic() -> keras.Model:
    """15 -> 64 bicubic resize as a fixed matrix along each axis: exact, and every ONNX exporter knows it."""
    import keras
    from keras import layers

    stages = []
    for _ in "xy":
        stages += [layers.Dense(PAPER_SIDE_PX, use_bias=False), layers.Permute((2, 1))]
    resize = keras.Sequential([keras.Input((ROI_PX, ROI_PX)), *stages], name="bicubic")
    matrix = bicubic_matrix(ROI_PX, PAPER_SIDE_PX)
    resize.set_weights([matrix, matrix])
    resize.trainable = False
    return resize


def bicubic_matrix(source: int, target: int) -> F32:
    """Weights (source, target) of Keys' bicubic interpolation (a = -0.5), half-pixel centres, edges repeated."""
    matrix = np.zeros((source, target), np.float32)
    for column in range(target):
        centre = (column + 0.5) * source / target - 0.5
        base = int(np.floor(centre))
        for tap in range(base - 1, base + 3):
            distance = abs(centre - tap)
            if distance <= 1:
                weight = 1.5 * distance**3 - 2.5 * distance**2 + 1
            elif distance < 2:
                weight = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
            else:
                weight = 0.0
            matrix[min(max(tap, 0), source - 1), column] += weight
    return matrix
