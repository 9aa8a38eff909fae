"""How often `headstart zeroshot` is right on the labelled photographs that packages carry: 19, far too few to rely on.

    python -m benchmarks.zeroshot

For each bundled classifier and each number T of averaged classes: accuracy with Wilson's 95 % interval among the
19 labels of all of them; then every answer at the default T.
"""

from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.statistics.intervals import wilson_interval
from headstart.testing.sample_photos import fetch_labelled_photos
from headstart.zero_shot import imagenet_classes, sentence_encoder
from headstart.zero_shot.conse import TOP, combine_names
from headstart.zero_shot.source_classifier import load_source_classifier

BACKBONES = ("bundled:efficientnet_lite0", "bundled:efficientnet_lite1", "bundled:efficientnet_lite2")
TOPS = (1, 3, 5, 10, 30, 1000)


def main() -> None:
    store, console = Store(cache_folder()), Console(quiet=True)
    photos = fetch_labelled_photos(store, console)
    classes = sorted(set(photos.values()))
    model = sentence_encoder.load_sentence_model(store, console)
    targets = model.embed_texts(classes)
    print(f"n = {len(photos)} photographs, {len(classes)} classes (chance {1 / len(classes):.3f})")
    for backbone in BACKBONES:
        source = load_source_classifier(backbone, store, console)
        names = imagenet_classes.embed_classes(source.classes, model, store, console)
        seen = list(source.run_classifier(photos))
        answers = {
            top: [classes[int((targets @ combine_names(one.vector, names, top)).argmax())] for one in seen]
            for top in TOPS
        }
        for top, given in answers.items():
            right = sum(a == b for a, b in zip(given, photos.values(), strict=True))
            found = wilson_interval(right, len(photos))
            score = f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}] n={len(photos)}"
            print(f"{backbone:<28}T = {top:<6}{score}{'   (default T)' if top == TOP else ''}", flush=True)
        for one, given, label in zip(seen, answers[TOP], photos.values(), strict=True):
            top, chance = next(iter(source.list_likeliest(one.vector).items()))
            print(f"    {'right' if given == label else 'wrong'}  {label:<26}{given:<26}seen: {top} {chance:.2f}")


if __name__ == "__main__":
    main()
