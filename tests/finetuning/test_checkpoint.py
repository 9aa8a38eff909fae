import numpy as np
import pytest

from headstart.finetuning.training.checkpoint import CheckpointFolder, TrainingArrays, TrainingFacts
from headstart.finetuning.training.prefetch import Profile
from small_nets import classes

START = classes(3).score(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))  # NaN for the third class


def facts(epoch=2, **given):
    return TrainingFacts(key="a" * 64, parts=2, peak=0.1 + 0.2, epoch=epoch, steps=7 * epoch, start=START, **given)


def arrays():
    rng = np.random.default_rng(0)
    weights = {"a/kernel": rng.normal(size=(3, 2)).astype(np.float32), "A/kernel": np.float32(1.5)}
    state = [np.int64(7), *(rng.normal(size=n).astype(np.float32) for n in range(12))]
    return TrainingArrays(weights=weights, state=state, logits=rng.normal(size=(3, 4, 3)).astype(np.float32))


def test_a_state_comes_back_bit_for_bit(tmp_path):
    folder, kept, put = CheckpointFolder(tmp_path), arrays(), facts(profile=Profile(wait_s=0.25), notes=("batch",))
    folder.save_state(put, kept)
    known, found = CheckpointFolder(tmp_path).load_state("a" * 64)
    assert str(known) == str(put)  # NaN differs from itself
    assert found.weights.keys() == kept.weights.keys() and len(found.state) == 13
    pairs = [*zip(found.state, kept.state, strict=True), (found.logits, kept.logits)]
    pairs += [(found.weights[path], kept.weights[path]) for path in kept.weights]
    assert all(a.tobytes() == b.tobytes() and a.dtype == b.dtype for a, b in pairs)


def test_only_the_last_state_is_left(tmp_path):
    folder = CheckpointFolder(tmp_path)
    for epoch in (9, 10, 11):
        folder.save_state(facts(epoch), arrays())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state-011.json", "state-011.npz"]
    folder.save_state(facts(11, stopped="all 11 epochs"), TrainingArrays())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state-over.json", "state-over.npz"]
    known, found = folder.load_state("a" * 64)
    assert known.stopped == "all 11 epochs" and found.logits is None and not found.state


def test_another_training_is_not_gone_on_from(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save_state(facts(), arrays())
    folder.keep_weights(0, arrays().weights)
    (tmp_path / "notes.txt").write_text("not ours")
    assert folder.load_state("b" * 64) is None
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["state-002.npz", "state-002.json"])
@pytest.mark.parametrize("spoil", [lambda content: content[: len(content) // 2], lambda content: b"\x00" * 40])
def test_a_damaged_state_is_as_none(tmp_path, name, spoil):
    folder = CheckpointFolder(tmp_path)
    folder.save_state(facts(), arrays())
    (tmp_path / name).write_bytes(spoil((tmp_path / name).read_bytes()))
    assert folder.load_state("a" * 64) is None
    assert not list(tmp_path.iterdir())


def test_a_flipped_byte_in_the_arrays_is_seen(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save_state(facts(), arrays())
    content = bytearray((tmp_path / "state-002.npz").read_bytes())
    content[content.index(arrays().logits.tobytes()[:16]) + 3] ^= 1
    (tmp_path / "state-002.npz").write_bytes(content)
    assert folder.load_state("a" * 64) is None


def test_a_state_whose_facts_were_not_written_does_not_count(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save_state(facts(1), arrays())
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    folder.save_state(facts(2), arrays())
    (tmp_path / "state-002.json").unlink()  # as if killed between the two files
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    assert folder.load_state("a" * 64)[0].epoch == 1
    folder.save_state(facts(2), arrays())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state-002.json", "state-002.npz"]


@pytest.mark.parametrize("place", [True, False])
def test_weights_of_epochs(tmp_path, place):
    folder = CheckpointFolder(tmp_path / "deep" if place else None)
    for epoch in range(4):
        folder.keep_weights(epoch, {"kernel": np.full(3, epoch, np.float32)})
    assert folder.read_weights(2)["kernel"].tolist() == [2, 2, 2]
    folder.drop_weights(but=2)
    assert folder.read_weights(0)["kernel"].tolist() == [0, 0, 0] and folder.read_weights(2)
    for epoch in (1, 3):
        with pytest.raises(KeyError):
            folder.read_weights(epoch)
    folder.clear_states()
    with pytest.raises(KeyError):
        folder.read_weights(0)


def test_what_is_kept_in_memory_does_not_move_on():
    folder, weights = CheckpointFolder(None), {"kernel": np.zeros(2)}
    folder.keep_weights(0, weights)
    weights["kernel"] = np.ones(2)
    assert folder.read_weights(0)["kernel"].tolist() == [0, 0]
    assert folder.load_state("a" * 64) is None
