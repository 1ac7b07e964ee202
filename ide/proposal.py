"""What would bring psi back to 1 when it has been below for long: figures, never a change."""

from __future__ import annotations

from ide.epoch import Proposal
from ide.health import a_month, psi_ppm
from ide.params import DAY_S, IdeParams
from ide.state import Smoothed
from metering.money import INT64_MAX, PPM


def proposal(smoothed: Smoothed, params: IdeParams) -> Proposal | None:
    """The four levers with the value each would need alone; None while psi is not lastingly < 1.

    Hardware price and target ROI scale the stipends, `usage_share_ppm` the list-cost part of what
    is owed, customers' prices the revenue (and with it that list-cost part).
    """
    if smoothed.deficit_s == 0 or smoothed.deficit_s < params.proposal_after_s:
        return None
    revenue, obligation = smoothed.revenue_nano_usd, smoothed.obligation_nano_usd
    if (psi := psi_ppm(revenue, obligation)) is None:
        return None
    stipend_left = revenue - (obligation - smoothed.stipend_nano_usd)
    share_left = revenue - (obligation - smoothed.list_share_nano_usd)
    scaled = None if params.stipends else smoothed.stipend_nano_usd
    return Proposal(
        psi_smoothed_ppm=psi,
        deficit_days=smoothed.deficit_s // DAY_S,
        missing_nano_usd_per_month=min(INT64_MAX, a_month(obligation - revenue, params)),
        hardware_nano_usd=_scaled(params.hardware_nano_usd, stipend_left, scaled),
        target_roi_ppm_per_year=_scaled(params.target_roi_ppm_per_year, stipend_left, scaled),
        usage_share_ppm=_scaled(params.usage_share_ppm, share_left, smoothed.list_share_nano_usd),
        customer_prices_ppm=_customer_prices_ppm(smoothed),
    )


def _scaled(value: int, numerator: int, denominator: int | None) -> int | None:
    """value x numerator / denominator, down; None where that lever cannot close the gap alone."""
    if not denominator or numerator < 0:
        return None
    return value * numerator // denominator


def _customer_prices_ppm(smoothed: Smoothed) -> int | None:
    fixed = smoothed.obligation_nano_usd - smoothed.list_share_nano_usd
    moving = smoothed.revenue_nano_usd - smoothed.list_share_nano_usd
    if moving <= 0:
        return None
    return min(INT64_MAX, -(-fixed * PPM // moving))
