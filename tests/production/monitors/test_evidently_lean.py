"""What one observation with Evidently costs, and that nothing of it depends on the process."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import distance

from simulator.production.monitors.columns import describe
from simulator.production.monitors.evidently import Evidently


def test_pictures_are_drawn_for_the_page_only(make_view, images, monkeypatch):
    monitor, view = Evidently(method="columns", columns=("brightness",)), make_view(images[:100], images[100:200])
    monitor.observe(view)  # imports Evidently
    from evidently.metrics import column_statistics

    drawn = []
    real = column_statistics.plot_distr_with_perc_button
    monkeypatch.setattr(column_statistics, real.__name__, lambda **options: drawn.append(1) or real(**options))
    monitor.observe(view)
    assert drawn == []
    monitor.html(view)
    assert drawn == [1]


@pytest.mark.parametrize("seed", range(4))
def test_labels_are_summed_in_their_own_order(make_view, model, images, seed):
    drawn = images[torch.randperm(20000, generator=torch.Generator().manual_seed(seed))[:900]]
    view = make_view(drawn[:370], drawn[370:])
    found = (
        Evidently(method="columns", columns=("predicted_label",))
        .observe(view)
        .detail["columns"]["predicted_label"]["statistic"]
    )
    counts = [
        np.bincount(describe(model, "4", side)["predicted_label"].astype(int), minlength=10)
        for side in (view.reference, view.current)
    ]
    present = (counts[0] + counts[1]) > 0
    shares = [count[present] / count.sum() for count in counts]
    assert found == distance.jensenshannon(*shares)  # to the last bit: over words the order is another in each process
