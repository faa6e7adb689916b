"""k-means finds as many clusters as are asked for where there are distinct points enough."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import noise

from torchsep.functional import kmeans, minibatch_kmeans

FITS = {
    "kmeans": (kmeans, st.fixed_dictionaries({"max_iter": st.sampled_from([1, 2, 300])})),
    "minibatch_kmeans": (
        minibatch_kmeans,
        st.fixed_dictionaries(
            {"batch_size": st.sampled_from([1, 2, 4, 16, 1024]), "max_iter": st.sampled_from([1, 100])}
        ),
    ),
}


@pytest.mark.parametrize("name", FITS)
@settings(max_examples=60)
@given(data=st.data())
def test_no_cluster_is_empty_if_there_are_distinct_points_enough(name, data):
    fit, options = FITS[name]
    features = data.draw(st.integers(1, 3))
    values = st.lists(st.integers(0, data.draw(st.sampled_from([1, 4, 1000]))), min_size=features, max_size=features)
    points = torch.tensor(data.draw(st.lists(values, min_size=1, max_size=25)), dtype=torch.float32)
    points = data.draw(st.sampled_from([1.0, 1e-3, 100.0])) * points + data.draw(st.sampled_from([0.0, -2000.0]))
    n_clusters = data.draw(st.integers(1, len(points.unique(dim=0))))
    weights = data.draw(st.sampled_from([None, noise(len(points)).abs().float() + 0.01]))
    found = fit(points, n_clusters, weights=weights, **data.draw(options))
    assert len(found.labels.unique()) == n_clusters
    assert len(found.centres.unique(dim=0)) == n_clusters


def test_clusters_are_filled_in_each_item_alone():
    items = torch.stack((100 * noise(16, 3).float() - 2000, torch.ones(16, 3), noise(16, 3, seed=1).float()))
    found = minibatch_kmeans(items, 12, batch_size=4)
    assert [len(labels.unique()) for labels in found.labels] == [12, 1, 12]
    for item, labels, inertia in zip(items, found.labels, found.inertia, strict=True):
        alone = minibatch_kmeans(item, 12, batch_size=4)
        assert torch.equal(alone.labels, labels)
        assert torch.equal(alone.inertia, inertia)
