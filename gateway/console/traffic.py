"""What goes through the gateway now: by model, what was refused, how the books keep up."""

from __future__ import annotations

import time

import msgspec

from gateway.admission.catalogue import Catalogue
from gateway.console.sightings import Sightings
from gateway.scorecard.card import Card, Cards
from gateway.scorecard.figures import Figures, figures_of
from gateway.telemetry.counts import Ended

_MOST_REFUSALS = 12


class ModelTraffic(msgspec.Struct, frozen=True, kw_only=True):
    figures: Figures
    ended: Ended
    """Since the gateway started."""
    in_flight: int
    nodes_ready: int


class RefusalLine(msgspec.Struct, frozen=True, kw_only=True):
    endpoint: str
    status: str
    code: str
    requests: int


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    as_of_ns: int
    models: tuple[ModelTraffic, ...]
    refusals: tuple[RefusalLine, ...]
    """The most frequent first, since the gateway started."""
    gauges: dict[str, float]


def traffic_of(sightings: Sightings, cards: Cards, catalogue: Catalogue) -> Traffic:
    by_model = sightings.counts.by_model()
    now_ns = time.monotonic_ns()
    in_flight = dict[str, int]()
    for view in sightings.views:
        under_way = sightings.in_flight.get(view.node.node_id, 0)
        in_flight[view.node.model] = in_flight.get(view.node.model, 0) + under_way
    refused = sorted(sightings.refused.items(), key=lambda each: -each[1])
    return Traffic(
        as_of_ns=time.time_ns(),
        models=tuple(
            ModelTraffic(
                figures=figures_of(model.id, cards.get(model.id, Card()), now_ns),
                ended=by_model.get(model.id, Ended(since_ns=0)),
                in_flight=in_flight.get(model.id, 0),
                nodes_ready=sightings.ready(model.id),
            )
            for model in catalogue
        ),
        refusals=tuple(
            RefusalLine(endpoint=endpoint, status=status, code=code, requests=requests)
            for (endpoint, status, code), requests in refused[:_MOST_REFUSALS]
        ),
        gauges=sightings.gauges,
    )
