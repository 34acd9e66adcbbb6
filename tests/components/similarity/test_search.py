"""Neighbours, outliers and duplicates, against scikit-learn's exact search."""

import tracemalloc

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from components.base.errors import UserError
from components.base.locks import HeldError
from components.similarity.collection import SONGS, VECTORS, Collection
from components.similarity.search import Search


def songs(count: int, values: int = 300, seed: int = 0) -> np.ndarray:
    """Embeddings as of music: some hundred kinds, on few directions, with noise on all; positive, as after a ReLU."""
    rng = np.random.default_rng(seed)
    directions = np.abs(rng.standard_normal((40, values)))
    kinds = rng.gamma(0.3, size=(200, 40))[rng.integers(200, size=count)]
    found = (kinds + 0.1 * rng.gamma(1.0, size=(count, 40))) @ directions
    found += 0.05 * found.mean() * rng.standard_normal((count, values))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("count", "values"), [(5000, 300), (300, 40), (30, 1024), (2, 3)])
def test_neighbours_are_those_of_an_exact_search(count, values):
    vectors = songs(count, values)
    search = Search(vectors)
    wanted = min(10, count)
    exact = NearestNeighbors(n_neighbors=wanted, metric="cosine", algorithm="brute").fit(vectors)
    queries = vectors[:50]
    distances, places = exact.kneighbors(queries)
    for query, near, expected in zip(queries, distances, places, strict=True):
        found = search.neighbours(7.0 * query, 10)
        np.testing.assert_allclose([each.similarity for each in found], 1.0 - near, atol=1e-5)
        assert found[0].place == expected[0]


def test_outliers_are_found():
    vectors = songs(2000)
    rng = np.random.default_rng(5)
    strange = rng.choice(2000, 10, replace=False)
    vectors[strange] = rng.standard_normal((10, 300))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = Search(vectors).outliers(10)
    assert {each.place for each in found} == set(strange)
    assert [each.similarity for each in found] == sorted(each.similarity for each in found)


@pytest.mark.parametrize("count", [50, 3000])
def test_duplicates_are_exactly_the_pairs_that_are_alike(count):
    vectors = songs(count)
    copies = vectors[:9] + 1e-3 * np.random.default_rng(1).standard_normal((9, 300)).astype(np.float32)
    vectors = np.concatenate([vectors, copies / np.linalg.norm(copies, axis=1, keepdims=True)])
    found = Search(vectors).duplicates(0.995, 10**6)
    similarity = np.triu(vectors @ vectors.T, 1)
    pairs = {(one, other) for one, other, _ in found}
    assert set(zip(*np.nonzero(similarity >= 0.99501), strict=True)) <= pairs  # but for rounding
    assert pairs <= set(zip(*np.nonzero(similarity >= 0.99499), strict=True))
    assert {(number, count + number) for number in range(9)} <= {(one, other) for one, other, _ in found}


def test_the_most_alike_come_first_and_no_more_than_asked_for():
    search = Search(songs(2500))
    every = search.duplicates(0.9, 10**7)
    assert len(every) > 1000 and search.duplicates(0.9, 7) == every[:7]
    assert every == sorted(every, key=lambda pair: (-pair[2], pair[0], pair[1]))


def test_outliers_of_several_blocks_are_those_of_an_exact_search():
    vectors = songs(2500, 40)  # so few values that the short vectors are whole
    exact = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(vectors).kneighbors(vectors)[0]
    found = Search(vectors).outliers(20)
    expected = np.sort(1.0 - exact[:, 1:].mean(axis=1))[:20]
    np.testing.assert_allclose([each.similarity for each in found], expected, atol=1e-5)


@pytest.mark.parametrize("of", ["duplicates", "outliers"])
def test_memory_does_not_grow_with_the_square_of_the_songs(of):
    """Where all are alike; a row of blocks alone would take 33 MB, and three of them were held."""
    search = Search(np.tile(songs(1, 8), (8000, 1)))
    tracemalloc.start()
    found = search.duplicates(0.9, 5) if of == "duplicates" else search.outliers(5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 5 and peak < 60e6, peak


def test_one_song_alone_has_no_neighbours():
    search = Search(songs(1))
    assert search.outliers(3) == [] and search.duplicates(0.5, 3) == []
    assert [each.place for each in search.neighbours(songs(1)[0], 3)] == [0]


def add(collection: Collection, song, vector) -> None:
    song.write_bytes(song.name.encode())
    collection.add(song, np.array(vector, np.float32))


def test_embeddings_are_kept(tmp_path):
    collection = Collection(tmp_path / "embeddings")
    with collection.writing():
        add(collection, tmp_path / "b", [3, 4])
        add(collection, tmp_path / "silent", [])
        add(collection, tmp_path / "a", [0, 2])
        with pytest.raises(HeldError), Collection(tmp_path / "embeddings").writing():
            pass
    again = Collection(tmp_path / "embeddings")
    assert [each.path for each in again.songs()] == [str(tmp_path / "a"), str(tmp_path / "b")]
    np.testing.assert_allclose(again.vectors(), [[0, 1], [0.6, 0.8]])
    assert again.knows(tmp_path / "silent") and not again.knows(tmp_path / "c")
    (tmp_path / "a").write_bytes(b"changed")
    assert not again.knows(tmp_path / "a")
    with again.writing():
        add(again, tmp_path / "a", [1, 0])
    np.testing.assert_allclose(Collection(tmp_path / "embeddings").vectors(), [[1, 0], [0.6, 0.8]])


@pytest.mark.parametrize(("more", "line"), [(b"\x01\x02", b""), (bytes(8), b'{"path": "/x", "si')])
def test_a_kill_between_two_songs_or_within_one_loses_nothing(tmp_path, more, line):
    collection = Collection(tmp_path / "embeddings")
    with collection.writing():
        add(collection, tmp_path / "a", [0, 2])
    for name, rest in ((VECTORS, more), (SONGS, line)):
        with (tmp_path / "embeddings" / name).open("ab") as file:
            file.write(rest)
    again = Collection(tmp_path / "embeddings")
    with again.writing():
        add(again, tmp_path / "b", [2, 0])
    last = Collection(tmp_path / "embeddings")
    np.testing.assert_allclose(last.vectors(), [[0, 1], [1, 0]])


@pytest.mark.parametrize(("name", "content"), [(SONGS, b"{}\n"), (SONGS, b"x\n"), (VECTORS, b"")])
def test_damage_is_named(tmp_path, name, content):
    collection = Collection(tmp_path / "embeddings")
    with collection.writing():
        add(collection, tmp_path / "a", [0, 2])
    (tmp_path / "embeddings" / name).write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        Collection(tmp_path / "embeddings")


def test_nothing_is_there_at_first(tmp_path):
    assert Collection(tmp_path / "none").songs() == []
