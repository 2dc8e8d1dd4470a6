"""Compiled measures of a spot's shape: widths, and Picasso's net gradient."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.kernel import kernel

WINDOW_PX = 2.0
"""Standard deviation of the Gaussian window in which a spot's width is measured."""
WIDEST_PX = 6.0


@kernel()
def spot_widths(crops, background, x, y, out):  # type: ignore[no-untyped-def]
    """Fill in standard deviations along x and y, as seen through a Gaussian window and freed of its effect."""
    size = crops.shape[1]
    narrow = 1 / WINDOW_PX**2
    for i in range(len(crops)):
        light = across = down = 0.0
        for a in range(size):
            dy = a - size // 2 - y[i]
            for b in range(size):
                dx = b - size // 2 - x[i]
                seen = (crops[i, a, b] - background[i]) * np.exp(-0.5 * narrow * (dx * dx + dy * dy))
                light += seen
                across += seen * dx * dx
                down += seen * dy * dy
        for axis, moment in enumerate((across, down)):
            variance = moment / light if light > 0 and moment > 0 else WINDOW_PX**2
            out[i, axis] = 1 / np.sqrt(max(1 / max(variance, 1e-2) - narrow, 1 / WIDEST_PX**2))


@kernel()
def net_gradients(frames, frame, columns, rows, box, out):  # type: ignore[no-untyped-def]
    """Net gradients (ADU, `detection.detect`) around pixels; beyond the frame, the nearest pixel is repeated."""
    half = box // 2
    for i in range(len(frame)):
        image = frames[frame[i]]
        bottom, right = image.shape[0] - 1, image.shape[1] - 1
        total = 0.0
        for a in range(-half, half + 1):
            y = min(max(rows[i] + a, 0), bottom)
            for b in range(-half, half + 1):
                x = min(max(columns[i] + b, 0), right)
                if a == 0 and b == 0:
                    continue
                down = float(image[min(y + 1, bottom), x]) - float(image[max(y - 1, 0), x])
                across = float(image[y, min(x + 1, right)]) - float(image[y, max(x - 1, 0)])
                total -= (a * down + b * across) / np.sqrt(a * a + b * b)
        out[i] = total
