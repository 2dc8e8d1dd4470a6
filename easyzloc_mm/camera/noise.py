"""What to say where images are not as noisy as the camera's units say."""

from __future__ import annotations

from easyzloc_mm.camera.response import EM_EXCESS, NO_EXCESS, CameraResponse

ALIKE = 1.3
"""An excess of noise within this factor of an EM register's is probably that."""


def noise_sentence(ratio: float, response: CameraResponse, images: str, consequence: str) -> str:
    """Return what is wrong with the units, and how to mend it.

    Parameters
    ----------
    ratio : float
        Measured variance over that of the units.
    response : CameraResponse
        The units.
    images, consequence : str
        Whose noise it is, and what follows.
    """
    em = response.excess_noise == NO_EXCESS and 1 / ALIKE <= ratio / EM_EXCESS <= ALIKE
    cure = "for an EMCCD whose EM gain is on enter `excess_noise` 2; for any other camera " if em else ""
    return (
        f"the noise {images} is {ratio:.2f} times (variance) what the camera units say (`baseline_adu` "
        f"{response.baseline_adu:g}, `electrons_per_adu` {response.electrons_per_adu:.3g}, `excess_noise` "
        f"{response.excess_noise:g}); {consequence}: {cure}measure the camera with `camera-calibrate`, or, if only the "
        f"gain is wrong, enter `electrons_per_adu` {response.electrons_per_adu / ratio:.3g}"
    )
