"""DICOM and NIfTI: what the sensor saw reaches a trunk's input, windowed and upright, and no name goes with it."""

import contextlib
import gzip
import io
import re
import subprocess
import sys
import tarfile
import threading
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import data as pydicom_data
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

from headstart.core.errors import UsageError
from headstart.core.picture_settings import WINDOWS, parse_window, require_slice
from headstart.core.types import InputSpec, PixelRanges
from headstart.explanation.feature_map_model import FeatureMapModel
from headstart.exporting import predict_template
from headstart.exporting.export_source import decoding_rule
from headstart.images import isolated_decoding
from headstart.images.codecs import open_picture
from headstart.images.descriptors import describe_picture, from_row, to_row
from headstart.images.file_formats import PictureError
from headstart.images.preprocessing import decode_picture
from headstart.runtime.inputs.picture_inputs import read_pictures
from headstart.runtime.model import load
from headstart.testing.image_files import encode_picture
from headstart.testing.medical_files import make_dicom, make_nifti, shipped_dicom
from headstart.testing.tiny_model import write_tiny_model


@cache
def shipped(name):
    return shipped_dicom(name)


def read(content, **rules):
    picture = open_picture(content, ranges=PixelRanges(precise=True, **rules))
    return picture.decode_levels()


def test_hounsfield_units_survive_to_the_levels():
    file = pydicom.dcmread(io.BytesIO(shipped("CT_small.dcm")))
    units = file.pixel_array.astype(np.int64) * int(file.RescaleSlope) + int(file.RescaleIntercept)
    samples = open_picture(shipped("CT_small.dcm")).decode_samples()
    assert samples.kind == "integers" and (samples.values[..., 0] == units).all()
    levels = read(shipped("CT_small.dcm"), integers=(-1024.0, 255.0 * 16 - 1024.0))  # a power of two a level
    assert (levels[..., 0] * np.float32(16) - 1024 == units).all()
    spec = InputSpec(size_px=128, crop_fraction=1.0, ranges=PixelRanges(integers=(-1024.0, 3056.0), precise=True))
    tensor = decode_picture(shipped("CT_small.dcm"), spec)
    assert tensor.dtype == np.float32 and (tensor == levels).all()


@pytest.mark.parametrize("name", ["MR_small.dcm", "examples_overlay.dcm", "693_J2KI.dcm"])
def test_the_first_window_of_a_file_is_that_of_pydicom(name):
    file = pydicom.dcmread(io.BytesIO(shipped(name)))
    values = apply_modality_lut(file.pixel_array, file)
    shown = apply_voi_lut(values, file, index=0)
    half = 2 ** (file.BitsStored - 1)
    ends = np.array([-half, half - 1] if file.PixelRepresentation else [0, 2 * half - 1])
    low, high = ends * float(file.get("RescaleSlope", 1)) + float(file.get("RescaleIntercept", 0))
    expected = (shown - low) / (high - low) * 255
    np.testing.assert_allclose(read(shipped(name))[..., 0], expected, atol=2e-3)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_every_window_function_is_that_of_pydicom(function):
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    content = make_dicom(values, WindowCenter=1000, WindowWidth=700, VOILUTFunction=function)
    shown = apply_voi_lut(values, pydicom.dcmread(io.BytesIO(content)))
    np.testing.assert_allclose(read(content)[..., 0], shown / (2**16 - 1) * 255, atol=2e-3)


def test_a_voi_table_is_applied():
    values = np.arange(16, dtype=np.uint16).reshape(4, 4)
    table = Dataset()
    table.LUTDescriptor = [16, 0, 8]
    table.add_new("LUTData", "OW", np.arange(255, 255 - 160, -10, dtype="<u2").tobytes())
    content = make_dicom(values, VOILUTSequence=Sequence([table]))
    np.testing.assert_array_equal(read(content)[..., 0].ravel(), np.arange(255, 255 - 160, -10))


def test_a_window_that_is_asked_for_wins():
    values = np.array([[-200, -150, 50, 250, 300]], np.int16).repeat(5, 0)
    content = make_dicom(values, WindowCenter=0, WindowWidth=10)
    levels = read(content, window=parse_window("abdomen"))[0, :, 0]
    np.testing.assert_allclose(levels, [0, 0, 127.5, 255, 255])
    assert (read(content, window="none", integers=(-200.0, 300.0))[0, :, 0] == [0, 25.5, 127.5, 229.5, 255]).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_monochrome1_is_bright_where_values_are_small(bits):
    values = np.arange(64, dtype=f"uint{bits}").reshape(8, 8)
    window = {"WindowCenter": 32.0, "WindowWidth": 64}
    plain, inverted = (
        read(make_dicom(values, PhotometricInterpretation=f"MONOCHROME{kind}", **window)) for kind in (2, 1)
    )
    np.testing.assert_allclose(plain + inverted, 255, atol=1e-4)
    assert inverted[0, 0, 0] > 250
    bare = read(make_dicom(values, PhotometricInterpretation="MONOCHROME1"))
    assert bare[0, 0, 0] > 254.99 and (np.diff(bare[..., 0].ravel()) < 0).all()


def test_per_frame_rescaling_and_windows_are_those_of_the_frame():
    frames = np.stack([np.full((4, 4), value, np.uint16) for value in (10, 20, 30)])
    groups = []
    for slope in (1, 2, 3):
        scale, window, group = Dataset(), Dataset(), Dataset()
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = slope, 0, "US"
        window.WindowCenter, window.WindowWidth, window.VOILUTFunction = 127.5, 255, "LINEAR_EXACT"
        group.PixelValueTransformationSequence, group.FrameVOILUTSequence = Sequence([scale]), Sequence([window])
        groups.append(group)
    content = make_dicom(frames, PerFrameFunctionalGroupsSequence=Sequence(groups))
    for where, level in (("first", 10), ("middle", 40), ("last", 90), ("2", 40)):
        assert (read(content, slice=where) == level).all()
    facts = from_row(to_row(describe_picture(content)))
    assert (facts.frames, facts.frame) == (3, 1) and "number 2 of 3 frames" in facts.note
    with pytest.raises(PictureError, match="it has 3 frames or slices, and number 4 is asked for"):
        read(content, slice="4")


@pytest.mark.parametrize(
    "name", ["SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_rle.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "examples_ybr_color.dcm"]
)
def test_colour_is_rgb(name):
    file = pydicom.dcmread(io.BytesIO(shipped(name)))
    frame = pydicom.pixels.pixel_array(file, index=int(file.get("NumberOfFrames") or 1) // 2)
    picture = open_picture(shipped(name))
    assert (np.asarray(picture.decode_rgb()) == frame).all() and not picture.notes


def test_a_palette_is_applied():
    file = pydicom.dcmread(io.BytesIO(shipped("examples_palette.dcm")))
    expected = pydicom.pixels.apply_color_lut(file.pixel_array, file) / np.float32(257)
    np.testing.assert_allclose(read(shipped("examples_palette.dcm")), expected, rtol=1e-5)


@pytest.mark.medium
@pytest.mark.parametrize(
    "name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_bigendian.dcm"]
)
def test_lossless_compression_loses_nothing(name):
    assert (read(shipped(name)) == read(shipped("MR_small.dcm"))).all()


def test_the_group_is_a_digest_of_the_patient_then_of_the_study():
    values = np.zeros((8, 8), np.uint16)

    def group(**elements):
        return open_picture(make_dicom(values, **elements)).group

    ann, bob = group(PatientID="ANN-1"), group(PatientID="BOB-2")
    assert ann != bob and ann == group(PatientID="ANN-1 ", StudyInstanceUID="1.2.3")
    assert group(PatientID="ANN-1", IssuerOfPatientID="other clinic") != ann
    assert group(PatientID="", StudyInstanceUID="1.2.3") == group(StudyInstanceUID="1.2.3") not in (ann, 0)
    assert from_row(to_row(describe_picture(make_dicom(values, PatientID="ANN-1")))).group == ann


VOLUME = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)  # x right, y front, z up


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("axial:middle", VOLUME[:, ::-1, 3].T),
        ("", VOLUME[:, ::-1, 3].T),
        ("coronal:2", VOLUME[:, 1, ::-1].T),
        ("sagittal:last", VOLUME[3, :, ::-1].T),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_a_slice_is_upright_however_the_file_stores_it(rule, expected, turned, packed):
    volume, affine = VOLUME, np.eye(4)
    if turned:  # stored as z, x, y with x and z from right and from above
        volume, affine = VOLUME[::-1, :, ::-1].transpose(2, 0, 1), np.zeros((4, 4))
        affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = -1, -1, 1, 1
    content = make_nifti(volume, affine)
    samples = open_picture(
        gzip.compress(content) if packed else content, ranges=PixelRanges(slice=rule)
    ).decode_samples()
    assert samples.kind == "integers" and (samples.values[..., 0] == expected).all()


def test_scaled_nifti_is_floats_and_takes_a_window():
    content = make_nifti(VOLUME, np.eye(4), slope=0.5, inter=-10.0)
    samples = open_picture(content).decode_samples()
    assert samples.kind == "floats" and (samples.values[..., 0] == VOLUME[:, ::-1, 3].T * 0.5 - 10).all()
    assert read(content, window="0,20").max() == 255.0


@pytest.mark.parametrize("precise", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        lambda: shipped("CT_small.dcm"),
        lambda: shipped("MR_small_jp2klossless.dcm"),
        lambda: shipped("SC_rgb_jpeg_dcmtk.dcm"),
        lambda: shipped("rtdose.dcm"),
        lambda: make_dicom(VOLUME[0].astype(np.uint16), PhotometricInterpretation="MONOCHROME1"),
        lambda: make_nifti(VOLUME, np.eye(4)),
        lambda: gzip.compress(make_nifti(VOLUME.astype(np.float32), np.eye(4))),
    ],
)
def test_an_export_reads_them_alike(content, precise):
    ranges = PixelRanges(integers=(0.0, 2000000.0), precise=precise)
    specs = [InputSpec(size_px=24, ranges=ranges), InputSpec(size_px=24, resize="pad", ranges=ranges)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of odd files
        decoded = predict_template.decode(content(), [decoding_rule(spec) for spec in specs])
    for spec, picture in zip(specs, decoded, strict=True):
        assert picture.dtype == spec.dtype and (picture == decode_picture(content(), spec)).all()


def test_settings_are_words_or_numbers():
    assert parse_window("lung") == "-600,1500" and parse_window(" 40, 80") == "40,80" and parse_window("") == ""
    assert set(WINDOWS) >= {"brain", "lung", "bone"}
    require_slice("coronal:7")
    for text in ("40", "40,0", "a,b", "nan,3", "heart", "1,2,3"):
        with pytest.raises(UsageError, match="is no window"):
            parse_window(text)
    for text in ("top", "axial:", "axial:0", "round:middle", "axial:-1"):
        with pytest.raises(UsageError, match="is no slice"):
            require_slice(text)


@pytest.mark.medium
def test_all_files_that_pydicom_ships_are_read_or_refused_in_our_words(capfd):
    counts = {True: 0, False: 0}
    for path in sorted(Path(pydicom_data.__file__).parent.rglob("*")):
        if path.suffix in (".dcm", "") and path.is_file():
            try:
                describe_picture(path.read_bytes())
                counts[True] += 1
            except PictureError as err:
                assert err.reason in ("truncated", "unreadable", "not_a_picture")
                counts[False] += 1
    assert counts[True] > 50
    assert "pydicom" not in capfd.readouterr().err


def test_an_explanation_knows_the_slice(tmp_path):
    model = load(write_tiny_model(tmp_path / "model"))
    entry = model.manifest.trunks[0]
    entry = replace(entry, input=replace(entry.input, ranges=PixelRanges(slice="sagittal:2", precise=True)))
    model.manifest = replace(model.manifest, trunks=(entry,))
    seen = FeatureMapModel(model).decode_picture("", make_nifti(VOLUME, np.eye(4)))
    assert seen.size == (5, 6) and seen.pictures[0].dtype == np.float32


def test_files_without_a_suffix_are_found_in_folders_and_archives(tmp_path):
    files = {"a/IM0001": shipped("CT_small.dcm"), "a/1.2.840.17": shipped("MR_small.dcm"), "a/NOTES": b"no picture"}
    (tmp_path / "a").mkdir()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed, tarfile.open(tmp_path / "set.tar", "w") as tape:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
            packed.writestr(name, content)
            tape.add(tmp_path / name, name)
    for source in (tmp_path / "a", tmp_path / "set.zip", tmp_path / "set.tar"):
        found = sorted(str(picture).rpartition("/")[2] for picture in read_pictures(source))
        assert found == ["1.2.840.17", "IM0001"], source


@pytest.mark.medium
def test_many_threads_decode_alike():
    names = ["MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg_dcmtk.dcm", "MR_small_RLE.dcm"]
    expected = {name: read(shipped(name)) for name in names}
    with ThreadPoolExecutor(8) as pool:
        for name, levels in zip(names * 20, pool.map(lambda name: read(shipped(name)), names * 20), strict=True):
            assert (levels == expected[name]).all()


@pytest.mark.medium
def test_damaged_files_are_refused_and_end_nobody(monkeypatch):
    """GDCM ends its process on some damaged JPEG streams: it has one of its own, which is made anew."""
    rng = np.random.default_rng(0)
    names = ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg_dcmtk.dcm", "rtdose.dcm"]
    contents = [*map(shipped, names), make_nifti(VOLUME, np.eye(4)), gzip.compress(make_nifti(VOLUME, np.eye(4)))]
    answers = {"read": 0, "refused": 0}
    for turn in range(210):
        content = bytearray(contents[turn % len(contents)])
        for place in rng.integers(0, min(len(content), 2500), 3):
            content[place] = rng.integers(0, 256)
        try:
            describe_picture(bytes(content))
            answers["read"] += 1
        except PictureError:
            answers["refused"] += 1
    assert min(answers.values()) > 20
    whole = shipped("MR_small_jpeg_ls_lossless.dcm")
    expected = read(whole)
    isolated_decoding._pool._idle[-1]._process.kill()
    assert (read(whole) == expected).all()
    cut = bytearray(whole)
    cut[-3000:-1000] = bytes(2000)
    with contextlib.suppress(PictureError):
        read(bytes(cut))
    monkeypatch.setattr(isolated_decoding, "_CODE", "import os; os.abort()")
    isolated_decoding._pool.stop()
    with pytest.raises(PictureError, match="its compressed pixels are damaged"):
        read(whole)
    monkeypatch.undo()
    assert (read(whole) == expected).all()


def test_threads_decode_side_by_side_in_processes_of_their_own():
    content, (width, height) = shipped("MR_small_jpeg_ls_lossless.dcm"), (64, 64)
    isolated_decoding._pool.stop()
    together = threading.Barrier(2)

    def decode(_):
        together.wait(10)
        return [isolated_decoding.decode_frame(content, 0) for _ in range(5)]

    with ThreadPoolExecutor(2) as pool:
        answers = [array for arrays in pool.map(decode, range(2)) for array in arrays]
    assert len(answers) == 10 and all((array == answers[0]).all() for array in answers)
    assert answers[0].shape == (height, width)
    assert len(isolated_decoding._pool._idle) == 2


def test_twelve_bit_jpeg_is_refused_with_what_to_do():
    with pytest.raises(PictureError, match="a JPEG of 12 bits, and 8 are read: store it uncompressed"):
        open_picture(shipped("JPGExtended.dcm")).decode_rgb()
    content = bytearray(encode_picture(Image.new("L", (16, 16), 77), "JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 1], content[frame + 4] = 0xC1, 12  # extended, 12 bits
    with pytest.raises(PictureError, match="the JPEG has 12 bits a channel, and 8 are read: convert it"):
        open_picture(bytes(content)).decode_rgb()


MISSING = """
import sys
sys.modules[sys.argv[1]] = None
from headstart.images.codecs import open_picture
from headstart.images.file_formats import PictureError
from headstart.testing.medical_files import make_nifti, shipped_dicom
import numpy as np
try:
    content = open(sys.argv[2], "rb").read()
    open_picture(content).decode_rgb()
except PictureError as err:
    print(err)
"""


@pytest.mark.medium
@pytest.mark.parametrize(
    ("module", "name", "answer"),
    [
        ("gdcm", "MR_small_jpeg_ls_lossless.dcm", "compressed as JPEG-LS Lossless Image Compression.*python-gdcm"),
        ("pydicom", "CT_small.dcm", r"DICOM needs `pydicom` of the extra `medical`.*pip install .*\[medical\]"),
        ("nibabel", "volume.nii", "NIfTI needs `nibabel` of the extra `medical`"),
    ],
)
def test_what_is_not_installed_is_named(module, name, answer, tmp_path):
    (tmp_path / name).write_bytes(make_nifti(VOLUME, np.eye(4)) if name == "volume.nii" else shipped(name))
    command = [sys.executable, "-c", MISSING, module, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search(answer, done.stdout), done


def test_a_value_that_pydicom_warns_of_is_not_repeated(capfd, caplog):
    """A date that is none, a name that is too long: pydicom warns with the value, and logs it."""
    content = make_dicom(np.zeros((8, 8), np.uint16), PatientID="X" * 60, StudyInstanceUID="1.2.3")
    odd = content.replace(b"X" * 60, b"PLANTED\\" + b"Y" * 52).replace(b"1.2.3\0", b"PLANT\0")
    with caplog.at_level("DEBUG"):
        assert open_picture(odd).group
        with pytest.raises(PictureError) as caught:
            open_picture(odd.replace(b"MONOCHROME2 ", b"PLANTED     ")).decode_rgb()
    said = " ".join([str(caught.value), *caplog.messages, *capfd.readouterr()])
    assert "PLANT" not in said and caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize("name", ["a.nii.gz", "A.NII.GZ", "b.npy", "c.DCM", "x/d.tif"])
def test_names_of_all_formats_are_names_of_pictures(name):
    from headstart.images.file_formats import has_picture_suffix

    assert has_picture_suffix(name) and not has_picture_suffix(f"{name}.txt")
