"""Small networks that learn pictures and texts together, saved as KerasHub saves them; one is trained to be right.

Real weights of CLIP and SigLIP cannot be had without their hubs. What stands here is KerasHub's own classes, with a
vocabulary of a few words, and for the trained one captions such as `a photo of a red striped` of pictures drawn here.
"""

import warnings
from pathlib import Path

import numpy as np

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 220), "yellow": (230, 210, 40)}
PATTERNS = ("plain", "striped", "checked", "dotted")
SIDE, LENGTH = 32, 24
WORDS = ("a", "the", "of", "photo", "picture", *COLOURS, *PATTERNS)


def vocabulary() -> tuple[dict[str, int], list[str]]:
    """Byte pairs: every ASCII letter, and the merges that make whole words of `WORDS`."""
    letters = [chr(code) for code in range(33, 127)]
    found, merges = [*letters, *(f"{letter}</w>" for letter in letters)], []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append(f"{parts[0]} {parts[1]}")
            parts = ["".join(parts[:2]), *parts[2:]]
            found.append(parts[0])
    pieces = [*dict.fromkeys(found), "<|startoftext|>", "<|endoftext|>"]
    return {piece: number for number, piece in enumerate(pieces)}, list(dict.fromkeys(merges))


def _converter(kind: type):
    return kind(image_size=(SIDE, SIDE), scale=[1 / 127.5] * 3, offset=[-1.0] * 3)


def clip():
    """A CLIP with random weights, and its preprocessor."""
    import keras
    from keras_hub import layers, models

    keras.utils.set_random_seed(0)
    pieces, merges = vocabulary()
    tokenizer = models.CLIPTokenizer(vocabulary=pieces, merges=merges, pad_with_end_token=True)
    converter = _converter(layers.CLIPImageConverter)
    vision = models.CLIPVisionEncoder(8, 48, 1, 4, 96, image_shape=(SIDE, SIDE, 3))
    text = models.CLIPTextEncoder(len(pieces), 48, 48, 1, 4, 96, max_sequence_length=LENGTH)
    preprocessor = models.CLIPPreprocessor(tokenizer, converter, sequence_length=LENGTH)
    return models.CLIPBackbone(vision, text, 32), preprocessor


def siglip():
    """A SigLIP with random weights, and its preprocessor."""
    import io

    import keras
    import sentencepiece
    from keras_hub import layers, models

    keras.utils.set_random_seed(0)
    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([f"{a} {b}" for a in WORDS for b in WORDS]),
        model_writer=proto,
        vocab_size=60,
        model_type="unigram",
        bos_id=-1,
        eos_id=1,
        unk_id=2,
        pad_id=-1,
        eos_piece="</s>",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    tokenizer = models.SigLIPTokenizer(proto=proto.getvalue())
    vision = models.SigLIPVisionEncoder(8, 48, 1, 4, 96, image_shape=(SIDE, SIDE, 3))
    text = models.SigLIPTextEncoder(tokenizer.vocabulary_size(), 48, 48, 1, 4, 96, max_sequence_length=LENGTH)
    converter = _converter(layers.SigLIPImageConverter)
    preprocessor = models.SigLIPPreprocessor(tokenizer, converter, sequence_length=LENGTH)
    made = models.SigLIPBackbone(vision, text)
    made.siglip_head.set_weights([np.float32(np.log(10.0)), np.float32(-3.0)])
    return made, preprocessor


def save(made, folder: Path) -> Path:
    """A network and its preprocessor as a preset."""
    network, preprocessor = made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Keras' writer and NumPy 2
        network.save_to_preset(str(folder))
        preprocessor.save_to_preset(str(folder))
    return folder


# ---------------------------------------------------------------- the one that learns


def drawing(rng: np.random.Generator, colour: str, pattern: str) -> np.ndarray:
    """(32, 32, 3) uint8 of a pattern in a colour on light grey, somewhere else and with other noise each time."""
    down, right = np.mgrid[0:SIDE, 0:SIDE]
    shift = rng.integers(0, 8)
    inside = {
        "plain": down >= 0,
        "striped": ((right + shift) // 4) % 2 == 0,
        "checked": ((right + shift) // 8 + (down + shift) // 8) % 2 == 0,
        "dotted": ((down + shift) % 8 - 3.5) ** 2 + ((right + shift) % 8 - 3.5) ** 2 < 7,
    }[pattern]
    picture = np.full((SIDE, SIDE, 3), float(rng.integers(200, 256)))
    picture[inside] = COLOURS[colour]
    return (picture + rng.normal(0, 12, picture.shape)).clip(0, 255).astype(np.uint8)


def kinds() -> list[tuple[str, str]]:
    """Every colour with every pattern."""
    return [(colour, pattern) for colour in COLOURS for pattern in PATTERNS]


def trained(steps: int = 300):
    """A CLIP that has learnt which of the 16 captions belongs to which of 16 drawings."""
    import keras
    import tensorflow as tf

    network, preprocessor = clip()
    captions = [f"a photo of a {colour} {pattern}" for colour, pattern in kinds()]
    blank = np.zeros((len(captions), 8, 8, 3), np.float32)
    tokens = tf.constant(np.asarray(preprocessor({"images": blank, "prompts": captions})["token_ids"]))
    optimizer, rng = keras.optimizers.AdamW(2e-3), np.random.default_rng(0)
    same = tf.range(len(captions))

    @tf.function
    def step(pictures):
        with tf.GradientTape() as tape:
            scores = network({"images": pictures, "token_ids": tokens}, training=True)["vision_logits"]
            each = keras.losses.sparse_categorical_crossentropy
            by_picture = each(same, scores, from_logits=True)
            loss = keras.ops.mean(by_picture + each(same, keras.ops.transpose(scores), from_logits=True))
        found = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(found, network.trainable_variables, strict=True))

    for _ in range(steps):
        pictures = np.stack([drawing(rng, *kind) for kind in kinds()])
        step(pictures.astype(np.float32) / 127.5 - 1)
    return network, preprocessor
