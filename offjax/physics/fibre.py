"""The fibre between a base station and the cloud: Nieto et al. 2024, equations (11)-(13)."""

import math


def propagation_delay(length: float, velocity: float) -> float:
    """One-way delay in seconds of ``length`` m at ``velocity`` m/s, equation (11)."""
    return length / velocity


def fibre_rate(capacity: float, levels: float, overhead: float, error_correction: float) -> float:
    """Usable rate in bit/s, equation (12): C_f / sqrt(WDM) (1 - O_f) (1 - F_f).

    Args:
        capacity: C_f, bit/s.
        levels: "WDM" of the equation, 16 for 16-QAM.
        overhead: O_f, share of the rate.
        error_correction: F_f, share of the rate.
    """
    return capacity / math.sqrt(levels) * (1.0 - overhead) * (1.0 - error_correction)
