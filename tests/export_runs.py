"""Small saved models with all that an export needs: trunks of Keras layers, any head, doubt, and pictures."""

import dataclasses

import numpy as np

from headstart.backbones import loading
from headstart.backbones.earlier_runs import tuned_network
from headstart.core import model_manifest, registry
from headstart.core.console import Console
from headstart.core.recipe import Recipe
from headstart.core.storage import serialization as values
from headstart.core.storage.cache import Store
from headstart.core.storage.files import write_json
from headstart.core.storage.hashing import file_digest
from headstart.core.types import (
    OWN_RANGES,
    TASKS,
    BackboneSpec,
    Dataset,
    DatasetFacts,
    Evaluation,
    Feature,
    FeatureLevel,
    FineTuningResult,
    FitResult,
    FittedHead,
    InputSpec,
    PixelRanges,
    Splits,
    TunedNetwork,
)
from headstart.exporting.export_source import ExportSource
from headstart.exporting.parity import Pictures, measure_scale
from headstart.heads import prediction
from headstart.images.bands import make_triples
from headstart.networks import openvino_conversion
from headstart.networks.formats import keras_writer
from headstart.runtime import model
from headstart.uncertainty import conformal, ood_detection
from headstart.uncertainty.temperature import apply_temperature

CLASSES = ("blue", "green", "red")
WIDTH = 8
TEMPERATURE = 1.5
TARGETS = {  # of the classes of pictures, with the names of what is answered
    "classification": lambda classes: (classes, CLASSES),
    "multilabel": lambda classes: (np.stack([classes == 0, classes != 1, np.arange(len(classes)) % 4 < 2], 1), CLASSES),
    "regression": lambda classes: (200.0 * classes - 500.0 + np.arange(len(classes)), ("depth",)),
}


def make(folder, *, head="lda", sizes=(32,), doubt="nearest", count=30, task="classification", bands=0, **changes):
    """A source and pictures: `RUN/model` in `folder`, one trunk a size, the head fitted on its features of them.

    Args:
        folder: The run's; must be there.
        task: The classes, or what `TARGETS` makes of them.
        head: Name of the plugin.
        sizes: Of the trunks' inputs in px, two at most.
        doubt: Method of novelty, or empty for a model of no doubt.
        count: Pictures.
        bands: Of each picture, which the trunks see three at a time; 0 for colour.
        changes: Fields of the manifest that differ.
    """
    files, classes = pictures(folder / "pictures", count, bands)
    truth, names = TARGETS[task](classes)
    (folder / "model").mkdir()
    made = [_trunk(folder, at, size, files, bands) for at, size in enumerate(sizes)]
    parts = [(entry, features) for entry, _, features in made]
    networks = tuple(network for _, network, _ in made)
    changes = {"task": task, "class_names": names, **changes}
    return _saved(folder, parts, files, truth, head, doubt, changes, networks, Store(folder / "cache"))


def make_of(folder, name, store, *, depths=2, count=24, head="lda", doubt="nearest"):
    """The same with a backbone of a source, by its name, read at its last depths."""
    from headstart.exporting.runtime_model import cut_graph
    from headstart.images.preprocessing import decode_picture
    from headstart.networks.openvino_engine import Engine

    files, truth = pictures(folder / "pictures", count)
    found = loading.find_backbone(name)
    shown = np.stack([decode_picture(file.read_bytes(), found.spec.input) for file in files])
    place, keep = folder / "model" / "trunk0", list(range(len(found.spec.depths)))[-depths:]
    place.mkdir(parents=True)
    cut_graph(
        loading.make_trunk_folder(found, store, Console(quiet=True), shown[:8]) / "trunk.xml", place / "trunk.xml", keep
    )
    spec = dataclasses.replace(found.spec, depths=tuple(found.spec.depths[at] for at in keep))
    (_, features) = next(iter(Engine(place / "trunk.xml", threads=2).run([(None, shown)])))
    return _saved(
        folder, [(_entry(folder, spec, 0), np.concatenate(features, axis=1))], files, truth, head, doubt, {}, (), store
    )


def _saved(folder, parts, files, truth, head, doubt, changes, networks, store):
    place, entries = folder / "model", tuple(entry for entry, _ in parts)
    x = np.concatenate([features for _, features in parts], axis=1)
    plugin = registry.load_plugin("heads", head)
    params = plugin.grid(len(x), x.shape[1], 3)[-1:]
    is_number = truth.dtype.kind == "f"
    fit = next(plugin.path(x, truth, n_classes=1 if is_number else 3, params=params, class_weight=None, seed=0))
    temperature = 1.0 if is_number else TEMPERATURE
    p = apply_temperature(
        prediction.predict_probabilities(fit.kind, fit.arrays, x),
        temperature,
        TASKS[changes.get("task", "classification")],
    )
    content = model_manifest.Manifest(
        format=model_manifest.FORMAT,
        headstart="0",
        task="classification",
        class_names=CLASSES,
        trunks=entries,
        features=tuple(Feature(backbone=e.name, depth=d.name, dim=d.dim) for e in entries for d in e.depths),
        head=_head(place, fit),
        decision=model_manifest.Decision(positive="", threshold=None, costs=None),
        calibration=model_manifest.Calibration(temperature=temperature),
        doubt=_doubt(place, doubt, x, p, truth) if doubt else None,
    )
    model_manifest.write_manifest(dataclasses.replace(content, **changes), place)
    console = Console(quiet=True)
    source = ExportSource(
        model=model.load(place), run=folder, networks=networks, store=store, console=console, draft=folder
    )
    learnt, scale = tuple(files[: len(files) // 2]), measure_scale(source.model.layout.task, truth)
    return source, Pictures(
        files=tuple(files), truth=truth, clusters=None, origin="test", calibration=learnt, scale=scale
    )


def pictures(folder, count, bands=0):
    """Files of three colours with much noise, of several shapes, PNG and JPEG or NumPy; (files, (count,) classes)."""
    from PIL import Image

    folder.mkdir()
    draw, files = np.random.default_rng(3), []
    truth = np.arange(count) % 3
    for at, of in enumerate(truth):
        shape = (40 + 3 * (at % 5), 36 + 5 * (at % 7), 3)
        values = draw.normal(110, 60, shape) + 45 * (np.arange(3) == 2 - of) + draw.normal(0, 25, 3)
        if bands:
            files.append(folder / f"{at:02d}.npy")
            np.save(files[-1], np.concatenate([values, 255 - values], axis=-1)[..., :bands].astype(np.float32))
            continue
        files.append(folder / f"{at:02d}.{'png' if at % 2 else 'jpg'}")
        Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(files[-1])
    return files, truth


def _trunk(folder, at, size, files, bands=0):
    """Its entry, the network behind it, and its features (M, WIDTH) of the pictures."""
    import keras

    from headstart.images.preprocessing import decode_picture
    from headstart.networks.openvino_engine import Engine

    name, ranges = f"tuned:tiny{size}", OWN_RANGES
    if bands:
        order, ends, mix = tuple(range(1, bands + 1)), ((0.0, 255.0),) * bands, make_triples(bands)
        ranges = PixelRanges(precise=True, n_bands=bands, bands=order, band_ranges=ends, mix=mix)
    spec = BackboneSpec(
        name=name,
        family="tiny",
        revision="1",
        input=InputSpec(size_px=size, resize="squash" if at else "crop", ranges=ranges),
        depths=(FeatureLevel(name=keras_writer.FEATURES, dim=WIDTH),),
        params=1,
        flops=1,
        licence="Apache-2.0",
        licence_note="",
        pretrained_on="nothing",
        download_bytes=0,
        prior=0.5,
        prior_source="a guess",
    )
    given = keras.Input((size, size, 3), name="pictures")
    x = keras.layers.Rescaling(1 / 128, -1.0, name="scaled")(given)
    x = keras.layers.Conv2D(WIDTH, 3, strides=2, activation="relu", name="conv")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    x = keras.layers.Identity(name=keras_writer.FEATURES)(x)
    whole = keras.Model(given, keras.layers.Dense(3, activation="softmax", name="answer")(x), name=f"tiny{size}")
    draw = np.random.default_rng(size)
    whole.get_layer("conv").set_weights([draw.normal(0, 0.4, (3, 3, 3, WIDTH)), draw.normal(0, 0.3, WIDTH)])
    (folder / "adapt").mkdir(exist_ok=True)
    keras_writer.write_keras(whole, folder / tuned_network.MODELS[at])
    shown = np.stack([decode_picture(file.read_bytes(), spec.input) for file in files])
    place = folder / "model" / f"trunk{at}"
    place.mkdir()
    with openvino_conversion.silence_frameworks():
        views = shown.reshape(-1, size, size, 3)
        openvino_conversion.convert_trunk(keras.Model(whole.inputs, [x]), spec, views[:8], place)
    engine = Engine(place / "trunk.xml", threads=1, dtype=spec.input.dtype)
    (_, (features,)) = next(iter(engine.run([(None, views)])))
    features = features.reshape(len(shown), -1, WIDTH).mean(axis=1)
    return _entry(folder, spec, at), _network(spec, at), features


def _entry(folder, spec, at):
    return model_manifest.TrunkEntry(
        name=spec.name,
        revision=spec.revision,
        input=spec.input,
        depths=spec.depths,
        precision="f32",
        licence=spec.licence,
        licence_note="",
        ir=f"trunk{at}/trunk.xml",
        files=model_manifest.entry_files(folder / "model", f"trunk{at}"),
    )


def _network(spec, at):
    nothing = FittedHead(head="softmax", kind="linear", params={}, arrays={}, trainable_params=0)
    return TunedNetwork(
        spec=spec,
        backbone="tiny",
        recipe=Recipe(),
        file=tuned_network.MODELS[at],
        fitted=nothing,
        epochs=1,
        alpha=1.0,
        temperature=1.0,
        soup=(),
        trainable_params=1,
        n_train=1,
        flops=1,
    )


def _head(place, fit):
    from safetensors.numpy import save_file

    path = place / "head.safetensors"
    save_file({name: np.asarray(array, order="C") for name, array in fit.arrays.items()}, path)
    return model_manifest.HeadEntry(name=fit.head, kind=fit.kind, arrays=path.name, sha256=file_digest(path))


def _doubt(place, method, x, p, truth):
    from safetensors.numpy import save_file

    classes = np.arange(len(x)) % 3 if truth.ndim == 2 or truth.dtype.kind == "f" else truth
    arrays, k = ood_detection.fit_references(x, classes, method)
    own = np.sort(ood_detection.compute_distances(arrays, k, x))
    known = ((own[1:] + own[:-1]) / 2).astype(np.float32)  # between the pictures' own, so that rounding flips none
    score, limits = _limits(p, truth)
    save_file(arrays | limits | {"known": known}, place / "doubt.safetensors")
    return model_manifest.UncertaintyEntry(
        coverage=0.8,
        promise=0.8,
        score=score,
        kept=0.9,
        novelty=method,
        neighbour=k,
        limit=float(known[int(0.8 * len(known))]),
        familiar=0.8,
        arrays="doubt.safetensors",
        sha256=file_digest(place / "doubt.safetensors"),
    )


def _limits(p, truth):
    """Name of the score, and the arrays that no picture lies on."""
    if truth.dtype.kind == "f":
        half_width = conformal.conformal_quantile(np.abs(p[:, 0] - truth), 0.8)
        return "absolute_error", {"thresholds": np.array([half_width]), "floors": np.array([np.inf])}
    score = "least_ambiguous"
    if truth.ndim == 2:
        own = np.where(truth, 1.0 - p, p)
        limits = [
            [conformal.conformal_quantile(own[of, c], 0.8) for of in (~truth[:, c], truth[:, c])] for c in range(3)
        ]
        return score, {"thresholds": np.array(limits) + 1e-4, "floors": np.full(3, np.inf)}
    own = conformal.compute_scores(p, score)[np.arange(len(truth)), truth]
    return score, {
        "thresholds": conformal.compute_thresholds(own, truth, 3, 0.8, by_class=False) + 1e-4,
        "floors": conformal.compute_thresholds(own, truth, 3, 0.9, by_class=True) + 1e-4,
    }


def write_run(folder, **settings):
    """The same as a finished run folder, with the values that an export reads; (folder, pictures).

    Half of the pictures judged the run, the other half taught it.
    """
    source, shown = make(folder, **settings)
    write_json(folder / "format.json", {"format": 1})
    files, nothing = shown.files, np.zeros(0)
    half, every = np.arange(0, len(files), 2), np.arange(len(files))
    facts = DatasetFacts(
        **{f.name: () if f.name == "notes" else nothing for f in dataclasses.fields(DatasetFacts)},
    )
    data = Dataset(
        name="pictures",
        root=str(folder / "pictures"),
        modality="image",
        task=source.manifest.task,
        uris=tuple(file.name for file in files),
        digests=tuple(file_digest(file) for file in files),
        targets=shown.truth,
        split=(),
        class_names=() if source.model.layout.is_number else source.model.class_names,
        facts=facts,
        excused=(),
        digest="0" * 64,
    )
    splits = Splits(
        train=half + 1,
        val=nothing.astype(int),
        test=half,
        folds=np.zeros((1, len(files)), np.int16),
        clusters=every,
        given=False,
        straddling=np.zeros((0, 2), np.int64),
        seed=0,
        why="",
    )
    tuning = FineTuningResult(
        trials=(),
        logs=(),
        outcomes=(),
        network=source.networks[0],
        scratch=None,
        taken=True,
        why="",
        rows=nothing,
        probabilities=nothing,
        probe_probabilities=nothing,
    )
    values.save_value(data, folder / "read")
    values.save_value(splits, folder / "splits")
    values.save_value(_adapted(source, tuning), folder / "adapt")
    values.save_value(_evaluation(half), folder / "evaluate")
    return folder, shown


def _adapted(source, tuning):
    nothing = np.zeros(0)
    return FitResult(
        strategy="probe",
        features=source.manifest.features,
        fitted=FittedHead(head="lda", kind="linear", params={}, arrays={}, trainable_params=0),
        tried=(),
        why="",
        cv_rows=nothing,
        cv_probabilities=nothing,
        train_probabilities=nothing,
        nested=(),
        curve=(),
        tuning=tuning,
    )


def _evaluation(rows):
    nothing = np.zeros(0)
    return Evaluation(
        split="test",
        scores=(),
        baselines=(),
        confusion=nothing,
        rows=rows,
        probabilities=nothing,
        calibration=(),
        suspects=nothing,
        threshold=None,
        verdicts=(),
    )
